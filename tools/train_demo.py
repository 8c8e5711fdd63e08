"""Trains the demo model: a small InDI x4 network on the photos that `demo_photos.py` collects.

The run lasts `--minutes` of wall-clock time (the learning rate follows the clock), writes its state every ten
minutes, and continues from it with `--resume`. Lessons behind the settings: a plain L1-like loss, no noise, and most
samples at t = 1, which is where the one-step schedule runs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lqhq.export.families.indi.film_resnet import FilmResNet
from lqhq.tools.demo_metrics import LinearFilter, psnr_y, ssim_y
from lqhq.tools.demo_pairs import SCALE, Pairs, enlarge4, to_tensor

CONFIG = {"width": 64, "blocks": 8, "time_width": 64, "fold": SCALE}
SIDE, COUNT = 40, 12  # LR pixels of a patch, patches of a batch
WARM_UP = 200  # steps until the learning rate is at its peak
FULL = 0.75  # share of samples at t = 1
SAVE_S = 600.0


def orthogonal(gradient: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: five Newton-Schulz steps (Jordan et al., Muon, 2024)."""
    x: Tensor = gradient / (torch.linalg.norm(gradient) + 1e-7)
    for _ in range(5):
        product = x @ x.T
        x = 3.4445 * x + (-4.7750 * product + 2.0315 * product @ product) @ x
    return x


class Muon:
    """Momentum with orthogonalised updates for the body's convolutions: 0.1 dB more than AdamW after 350 steps."""

    def __init__(self, weights: list[nn.Parameter]) -> None:
        self.weights = weights
        self.momentum = [torch.zeros_like(weight) for weight in weights]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """One update. A rate of 0.02 diverged here after 200 steps; 0.005 did not."""
        for weight, momentum in zip(self.weights, self.momentum, strict=True):
            assert weight.grad is not None
            momentum.mul_(0.95).add_(weight.grad)
            ahead = (weight.grad + 0.95 * momentum).flatten(1).bfloat16()
            weight.add_(orthogonal(ahead).float().view_as(weight), alpha=-rate)


class Trainer:
    """Network, its running average, both optimisers and the clock: all that a state file holds."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.network, self.average = FilmResNet(**CONFIG), FilmResNet(**CONFIG)
        nn.init.zeros_(self.network.tail.weight)  # starts as bicubic enlargement
        nn.init.zeros_(self.network.tail.bias)  # type: ignore[arg-type]
        self.average.load_state_dict(self.network.state_dict())
        self.network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        body = [p for name, p in self.network.named_parameters() if name.startswith("body") and p.ndim == 4]
        self.muon = Muon(body)
        matrices = {id(weight) for weight in body}
        rest = [p for p in self.network.parameters() if id(p) not in matrices]
        self.optimizer = torch.optim.AdamW(rest, lr=1e-3, weight_decay=0, betas=(0.9, 0.99))
        self.spent, self.steps, self.curve = 0.0, 0, list[dict[str, Any]]()

    def step(self, x0: Tensor, y: Tensor, progress: float) -> float:
        """One batch; `progress` in [0, 1] of the run sets the rates. Returns the loss."""
        x0, y = x0.to(self.device), y.to(self.device)
        draw = torch.rand(len(x0)) * 0.99 + 0.01
        t = torch.where(torch.rand(len(x0)) < FULL, torch.ones(len(x0)), draw).to(self.device)
        x_t = (x0 + t[:, None, None, None] * (y - x0)).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device, dtype=torch.bfloat16):
            error = self.network(x_t, t).float() - x0
        loss = torch.sqrt(error.square() + 1e-6).mean()
        self.network.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        share = min(1, (self.steps + 1) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * progress))
        for group in self.optimizer.param_groups:
            group["lr"] = 1e-3 * share
        self.optimizer.step()
        self.muon.step(0.005 * share)
        self.steps += 1
        decay = min(0.999, self.steps / (self.steps + 10))
        with torch.no_grad():
            for slow, fast in zip(self.average.parameters(), self.network.parameters(), strict=True):
                slow.lerp_(fast.cpu(), 1 - decay)
        return loss.item()

    def save(self, out: Path) -> None:
        """State to go on from, and the checkpoint so far."""
        names = ("network", "average", "optimizer")
        state: dict[str, Any] = {name: getattr(self, name).state_dict() for name in names}
        state |= {"momentum": self.muon.momentum, "spent": self.spent, "steps": self.steps, "curve": self.curve}
        torch.save(state, out / "state.tmp")
        os.replace(out / "state.tmp", out / "state.pt")
        write_checkpoint(out, self.average)

    def load(self, out: Path) -> None:
        state = torch.load(out / "state.pt", weights_only=True)
        for name in ("network", "average", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.muon.momentum = state["momentum"]
        self.spent, self.steps, self.curve = state["spent"], state["steps"], state["curve"]


def write_checkpoint(out: Path, network: FilmResNet) -> None:
    """The documented format: `config.json` and `model.safetensors`."""
    config = {
        "format": "lqhq-indi",
        "network": "film_resnet",
        **CONFIG,
        "time_scale": 1.0,
        "scale": SCALE,
        "resize": "bicubic",
        "schedules": {"fast": {"steps": 1}},
        # 64 px of overlap leave less than a fifth of a level (benchmarks/results/tile_overhead.md); tiles of up to 1088
        # cut sides of 2048, 4096 and 8192 evenly.
        "tiles": {"preferred": 1088, "overlap": 64, "trained": SCALE * SIDE},
        "name": "demo",
        "licences": [{"part": "base", "licence": "CC-BY-SA-4.0", "attribution": "assets/LICENCE.md"}],
    }
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    weights = {k: v.contiguous() for k, v in network.state_dict().items()}
    save_file(weights, out / "model.tmp")
    os.replace(out / "model.tmp", out / "model.safetensors")


def restore(network: FilmResNet, y: Tensor, steps: int) -> Tensor:
    """InDI without noise: x <- F/k + (1 - 1/k) x for k = steps..1."""
    x = y
    for k in range(steps, 0, -1):
        x = network(x, torch.full((len(x),), k / steps)) / k + (1 - 1 / k) * x
    return x


@torch.no_grad()
def validate(network: FilmResNet, pairs: Pairs, linear: LinearFilter | None = None) -> dict[str, dict[str, Any]]:
    """Mean PSNR-Y and SSIM over whole photos for one step; with `linear`, for more steps and the rivals too."""
    rows: dict[str, list[tuple[float, float]]] = {}
    for hr8, lr8 in zip(pairs.hr, pairs.lr, strict=True):
        hr, lr = to_tensor(hr8), to_tensor(lr8)[None]
        y = enlarge4(lr)
        results = {f"N={n}": restore(network, y, n)[0] for n in ((1, 2, 4) if linear else (1,))}
        if linear:
            results |= {"bicubic": y[0], "linear": linear(lr)[0]}
        for name, image in results.items():
            rows.setdefault(name, []).append((psnr_y(image, hr), ssim_y(image, hr)))
    photos = [name.stem for name in pairs.names]
    return {name: _scores(photos, values) for name, values in rows.items()}


def _scores(photos: list[str], values: list[tuple[float, float]]) -> dict[str, Any]:
    psnr, ssim = (float(np.mean(column)) for column in zip(*values, strict=True))
    each = {name: [round(value, 4) for value in pair] for name, pair in zip(photos, values, strict=True)}
    return {"psnr_y": round(psnr, 4), "ssim": round(ssim, 5), "photos": each}


def train(photos: Path, out: Path, minutes: float, resume: bool, seed: int) -> None:
    """Run until the clock says `minutes`; leaves weights, `state.pt` and `report.json` in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    training, validation = Pairs(photos / "train", seed), Pairs(photos / "validation", seed)
    trainer = Trainer(device)
    if resume:
        trainer.load(out)
        training.draw.seed(seed + trainer.steps)
    start, saved = time.monotonic() - trainer.spent, trainer.spent
    while (spent := time.monotonic() - start) < 60 * minutes:
        trainer.spent = spent
        loss = trainer.step(*training.batch(COUNT, SIDE), spent / (60 * minutes))
        if trainer.steps % 50 == 0:
            print(f"{spent / 60:7.1f} min  step {trainer.steps}  loss {loss:.5f}", flush=True)
        if spent - saved > SAVE_S:
            saved = spent
            table = validate(trainer.average, validation)["N=1"]
            row = {"minutes": round(spent / 60, 1), "step": trainer.steps, "loss": round(loss, 5)}
            trainer.curve.append(row | {key: table[key] for key in ("psnr_y", "ssim")})
            print("validation", json.dumps(trainer.curve[-1]), flush=True)
            trainer.save(out)
    write_checkpoint(out, trainer.average)
    report = {
        "steps": trainer.steps,
        "patches": trainer.steps * COUNT,
        "side": SIDE,
        "minutes": minutes,
        "device": device,
        "parameters": sum(weight.numel() for weight in trainer.average.parameters()),
        "curve": trainer.curve,
        "validation": validate(trainer.average, validation, LinearFilter(training)),
    }
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="folder written by demo_photos.py")
    parser.add_argument("out", type=Path, help="folder for weights, state and report")
    parser.add_argument("--minutes", type=float, default=180, help="length of the whole run")
    parser.add_argument("--resume", action="store_true", help="continue from OUT/state.pt")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    train(given.photos, given.out, given.minutes, given.resume, given.seed)
