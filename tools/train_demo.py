"""Trains the demo model: a small InDI x4 network on the photos that `demo_photos.py` collects.

Lessons behind the settings: a plain L1-like loss, no noise, and most samples at t = 1, which is where the one-step
schedule runs.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lqhq.export.families.indi.film_resnet import FilmResNet
from lqhq.tools.demo_metrics import Method
from lqhq.tools.demo_pairs import SCALE, Pairs, enlarge4
from lqhq.tools.demo_run import Rates, Trainer, charbonnier, command

CONFIG = {"width": 64, "blocks": 8, "time_width": 64, "fold": SCALE}
WARM_UP = 200  # steps until the learning rate is at its peak
RATE, MATRIX_RATE = 1e-3, 0.005  # of AdamW, of Muon for the body's convolutions
FULL = 0.75  # share of samples at t = 1


class InDITrainer(Trainer[FilmResNet]):
    """F(x_t, t) is trained to be the clean image."""

    side, count, headline = 40, 12, "N=1"

    def __init__(self, device: str) -> None:
        network = FilmResNet(**CONFIG)
        average = FilmResNet(**CONFIG)
        nn.init.zeros_(network.tail.weight)  # starts as bicubic enlargement
        nn.init.zeros_(network.tail.bias)  # type: ignore[arg-type]
        body = [p for name, p in network.named_parameters() if name.startswith("body") and p.ndim == 4]
        matrices = {id(weight) for weight in body}
        rest = [p for p in network.parameters() if id(p) not in matrices]
        super().__init__(
            (network, average),
            device,
            matrices=body,
            matrix_rate=MATRIX_RATE,
            groups=[(RATE, rest)],
            rates=Rates(WARM_UP),
        )

    def loss(self, pairs: Pairs) -> Tensor:
        x0, y = (x.to(self.device) for x in pairs.batch(self.count, self.side))
        draw = torch.rand(len(x0)) * 0.99 + 0.01
        t = torch.where(torch.rand(len(x0)) < FULL, torch.ones(len(x0)), draw).to(self.device)
        x_t = (x0 + t[:, None, None, None] * (y - x0)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device, dtype=torch.bfloat16):
            error = self.network(x_t, t).float() - x0
        return charbonnier(error)

    def methods(self, final: bool) -> dict[str, Method]:
        def method(steps: int) -> Method:
            return lambda lr: restore(self.average, enlarge4(lr), steps)

        return {f"N={steps}": method(steps) for steps in ((1, 2, 4) if final else (1,))}

    def write_checkpoint(self, out: Path) -> None:
        """The documented format: `config.json` and `model.safetensors`."""
        config = {
            "format": "lqhq-indi",
            "network": "film_resnet",
            **CONFIG,
            "time_scale": 1.0,
            "scale": SCALE,
            "resize": "bicubic",
            "schedules": {"fast": {"steps": 1}},
            # 64 px of overlap leave less than a fifth of a level (benchmarks/results/tile_overhead.md); tiles of up to
            # 1088 cut sides of 2048, 4096 and 8192 evenly.
            "tiles": {"preferred": 1088, "overlap": 64, "trained": SCALE * self.side},
            "name": "demo",
            "licences": [{"part": "base", "licence": "CC-BY-SA-4.0", "attribution": "assets/LICENCE.md"}],
        }
        (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        weights = {k: v.contiguous() for k, v in self.average.state_dict().items()}
        save_file(weights, out / "model.tmp")
        os.replace(out / "model.tmp", out / "model.safetensors")


def restore(network: FilmResNet, y: Tensor, steps: int) -> Tensor:
    """InDI without noise: x <- F/k + (1 - 1/k) x for k = steps..1."""
    x = y
    for k in range(steps, 0, -1):
        x = network(x, torch.full((len(x),), k / steps)) / k + (1 - 1 / k) * x
    return x


if __name__ == "__main__":
    command(__doc__, InDITrainer)
