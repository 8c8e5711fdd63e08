"""Trains the demo of synthesis: a small unconditional DDPM on photos with the damage of `lq_damage.py`.

    python tools/train_lq_ddpm.py PHOTOS OUT [--crops 100000] [--resume]

Leaves `unet/` and `scheduler/` in OUT, as diffusers saves them, with `state.pt` to go on from, `curve.csv` and
`report.json`. As in the released model's training, only noise levels of the first quarter are seen: synthesis starts
from no stronger noise. A run is as long as its crops, not its hours: it may be stopped, or starve, and goes on.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
from collections import deque
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor, nn

from lqhq.tools.demo_run import Rates
from lqhq.tools.lq_crops import Crops
from lqhq.tools.muon import Muon

CONFIG = {
    "sample_size": 64,
    "layers_per_block": 1,
    "block_out_channels": (32, 48, 64, 96),
    "down_block_types": ("DownBlock2D",) * 4,
    "up_block_types": ("UpBlock2D",) * 4,
    "norm_num_groups": 8,
    "add_attention": False,  # what there is to learn is local, and tiles of any size then look the same
}
STEPS, STRONGEST = 1000, 250  # timesteps of the process; those that training sees
SIDE, COUNT = 64, 12  # pixels of a crop, crops of a batch
RATE, MATRIX_RATE, WARM_UP = 1e-3, 0.005, 200  # of AdamW, of Muon for the inner convolutions; steps
LONGEST = 1.0  # gradient
DECAY = 0.999  # of the running average
SAVE_S = 300.0
HELD, JUDGED = 16, 60  # damaged photos for validation, crops of them


def scheduler() -> DDPMScheduler:
    """The release's process."""
    return DDPMScheduler(num_train_timesteps=STEPS, beta_start=1e-4, beta_end=0.02, timestep_spacing="leading")


def build() -> UNet2DModel:
    """Starts by predicting no noise at all."""
    network = UNet2DModel(**CONFIG)
    nn.init.zeros_(network.conv_out.weight)
    nn.init.zeros_(network.conv_out.bias)
    return network


def noise_error(network: nn.Module, x0: Tensor, products: Tensor) -> Tensor:
    """Mean squared error of predicted noise over a batch; timesteps spread evenly over those that training sees."""
    count = len(x0)
    t = ((torch.arange(count) + torch.rand(count)) * (STRONGEST / count)).long()
    product = products[t][:, None, None, None]
    noise = torch.randn_like(x0)
    x_t = product.sqrt() * x0 + (1 - product).sqrt() * noise
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (pred,) = network(x_t, t, return_dict=False)
    return nn.functional.mse_loss(pred.float(), noise)


class Run:
    """All that a state file holds: network, running average, two optimisers, clock and curve."""

    def __init__(self) -> None:
        self.network, self.average = build().to(memory_format=torch.channels_last), build()
        self.average.load_state_dict(self.network.state_dict())
        inner = [p for name, p in self.network.named_parameters() if p.ndim == 4 and "block" in name]
        matrices = {id(weight) for weight in inner}
        self.muon = Muon(inner)
        rest = [p for p in self.network.parameters() if id(p) not in matrices]
        self.optimizer = torch.optim.AdamW(rest, weight_decay=0, betas=(0.9, 0.99))
        self.rates, self.products = Rates(WARM_UP), scheduler().alphas_cumprod
        self.spent, self.steps, self.curve = 0.0, 0, list[dict[str, float]]()

    def step(self, x0: Tensor, progress: float) -> float:
        """One batch `[N, 3, H, W]` in [-1, 1]; `progress` in [0, 1] of the run sets the rates. Returns the loss."""
        loss = noise_error(self.network, x0, self.products)
        self.network.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.network.parameters(), LONGEST)
        share = self.rates.share(self.steps, progress)
        self.optimizer.param_groups[0]["lr"] = RATE * share
        self.optimizer.step()
        self.muon.step(MATRIX_RATE * share)
        self.steps += 1
        decay = min(DECAY, self.steps / (self.steps + 10))
        with torch.no_grad():
            for slow, fast in zip(self.average.parameters(), self.network.parameters(), strict=True):
                slow.lerp_(fast, 1 - decay)
        return loss.item()

    def judge(self, held: Tensor) -> float:
        """Loss of the averaged weights on crops of photos that training never sees, with the same noise every time."""
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(0)
            return fmean(noise_error(self.average, part, self.products).item() for part in torch.split(held, COUNT))

    def save(self, out: Path) -> None:
        """State to go on from, the checkpoint so far in diffusers' format, and the curve."""
        names = ("network", "average", "optimizer")
        state: dict[str, Any] = {name: getattr(self, name).state_dict() for name in names}
        state |= {"momentum": self.muon.momentum, "spent": self.spent, "steps": self.steps, "curve": self.curve}
        torch.save(state, out / "state.tmp")
        os.replace(out / "state.tmp", out / "state.pt")
        self.average.save_pretrained(out / "unet")
        scheduler().save_pretrained(out / "scheduler")
        with (out / "curve.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, ("minutes", "step", "loss", "validation"), lineterminator="\n")
            table.writeheader()
            table.writerows(self.curve)

    def load(self, out: Path) -> None:
        """The state that `save` wrote."""
        state = torch.load(out / "state.pt", weights_only=True)
        for name in ("network", "average", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.muon.momentum = state["momentum"]
        self.spent, self.steps, self.curve = state["spent"], state["steps"], state["curve"]


def train(photos: Path, out: Path, *, crops: int, resume: bool, seed: int) -> None:
    """Run until `crops` have been seen, those before a resumption too."""
    out.mkdir(parents=True, exist_ok=True)
    run = Run()
    if resume:
        run.load(out)
    torch.manual_seed(seed + run.steps)
    training = Crops(photos / "train", seed + run.steps)
    held = Crops(photos / "validation", seed, HELD).batch(JUDGED, SIDE)
    recent = deque[float](maxlen=100)
    saved = time.monotonic()
    total = -(-crops // COUNT)
    while run.steps < total:
        recent.append(run.step(training.batch(COUNT, SIDE), run.steps / total))
        now = time.monotonic()
        if now - saved > SAVE_S or run.steps == total:
            run.spent, saved = run.spent + now - saved, now
            row = {"minutes": round(run.spent / 60, 1), "step": run.steps}
            run.curve.append(row | {"loss": round(fmean(recent), 5), "validation": round(run.judge(held), 5)})
            print(json.dumps(run.curve[-1]), flush=True)
            run.save(out)
    report = {
        "steps": run.steps,
        "crops": run.steps * COUNT,
        "side": SIDE,
        "minutes": round(run.spent / 60, 1),
        "parameters": sum(weight.numel() for weight in run.average.parameters()),
        "curve": run.curve,
    }
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="folder written by demo_photos.py")
    parser.add_argument("out", type=Path, help="folder for weights, state and report")
    parser.add_argument("--crops", type=int, default=100_000, help="length of the whole run")
    parser.add_argument("--resume", action="store_true", help="continue from OUT/state.pt")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    train(given.photos, given.out, crops=given.crops, resume=given.resume, seed=given.seed)
