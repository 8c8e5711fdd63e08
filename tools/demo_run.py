"""A demo's training run: a network, its running average, two optimisers and the clock.

A run lasts a given wall-clock time, since a demo is trained on whatever machine there is: the learning rate follows
the clock. The state is written every ten minutes, with the validation curve so far.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from lqhq.tools.demo_metrics import LinearFilter, Method, judge
from lqhq.tools.demo_pairs import Pairs, enlarge4
from lqhq.tools.muon import Muon

__all__ = ["Rates", "Trainer", "charbonnier", "command", "train"]

SAVE_S = 600.0
Net = TypeVar("Net", bound=nn.Module)
Groups = list[tuple[float, list[nn.Parameter]]]


def charbonnier(error: Tensor) -> Tensor:
    """Mean of sqrt(e^2 + 1e-6): L1 that is smooth at 0."""
    return torch.sqrt(error.square() + 1e-6).mean()


class Rates:
    """Learning rates: a linear warm-up over `steps`, times half a cosine over the run."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def share(self, step: int, progress: float) -> float:
        """Of the peak rates, at a step from 0 and `progress` of the run in [0, 1]."""
        return min(1, (step + 1) / self.steps) * (0.5 + 0.5 * math.cos(math.pi * progress))


class Trainer(ABC, Generic[Net]):
    """All that a state file holds. A demo says what its loss, its restorations and its checkpoint are.

    `network` and `average` have the same weights at the start. Muon takes `matrices` at `matrix_rate`, AdamW the
    `groups` of peak rate and weights; gradients longer than `longest` are shortened to it.
    """

    side: int  # LR pixels of a patch
    count: int  # patches of a batch
    headline: str  # the method whose scores make the curve

    def __init__(
        self,
        networks: tuple[Net, Net],
        device: str,
        *,
        matrices: list[nn.Parameter],
        matrix_rate: float,
        groups: Groups,
        rates: Rates,
        longest: float = math.inf,
    ) -> None:
        self.network, self.average = networks
        self.average.load_state_dict(self.network.state_dict())
        self.network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.device, self.rates, self.longest = device, rates, longest
        self.muon, self.matrix_rate = Muon(matrices), matrix_rate
        adam = [{"params": weights, "peak": peak} for peak, weights in groups]
        self.optimizer = torch.optim.AdamW(adam, weight_decay=0, betas=(0.9, 0.99))
        self.spent, self.steps, self.curve = 0.0, 0, list[dict[str, Any]]()

    @abstractmethod
    def loss(self, pairs: Pairs) -> Tensor:
        """Of one random batch."""

    @abstractmethod
    def methods(self, final: bool) -> dict[str, Method]:
        """Ways to restore with the averaged weights; the headline alone unless `final`."""

    @abstractmethod
    def write_checkpoint(self, out: Path) -> None:
        """The weights so far, in the format that `lqhq export` reads."""

    def step(self, pairs: Pairs, progress: float) -> float:
        """One batch; `progress` in [0, 1] of the run sets the rates. Returns the loss."""
        loss = self.loss(pairs)
        self.network.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.network.parameters(), self.longest)
        share = self.rates.share(self.steps, progress)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * share
        self.optimizer.step()
        self.muon.step(self.matrix_rate * share)
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
        self.write_checkpoint(out)

    def load(self, out: Path) -> None:
        """The state that `save` wrote."""
        state = torch.load(out / "state.pt", weights_only=True)
        for name in ("network", "average", "optimizer"):
            getattr(self, name).load_state_dict(state[name])
        self.muon.momentum = [momentum.to(self.device) for momentum in state["momentum"]]
        self.spent, self.steps, self.curve = state["spent"], state["steps"], state["curve"]

    def report(self, minutes: float, training: Pairs, validation: Pairs) -> dict[str, Any]:
        """What the model card tells: size and length of the run, its curve, and the scores beside the rivals'."""
        rivals: dict[str, Method] = {"bicubic": enlarge4, "linear": LinearFilter(training)}
        return {
            "steps": self.steps,
            "patches": self.steps * self.count,
            "side": self.side,
            "minutes": minutes,
            "device": self.device,
            "parameters": sum(weight.numel() for weight in self.average.parameters()),
            "curve": self.curve,
            "validation": judge(self.methods(final=True) | rivals, validation),
        }


def train(
    build: Callable[[str], Trainer[Any]], photos: Path, out: Path, *, minutes: float, resume: bool, seed: int
) -> None:
    """Run until the clock says `minutes`; leaves weights, `state.pt` and `report.json` in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    training, validation = Pairs(photos / "train", seed), Pairs(photos / "validation", seed)
    trainer = build("cuda" if torch.cuda.is_available() else "cpu")
    if resume:
        trainer.load(out)
        training.draw.seed(seed + trainer.steps)
        torch.manual_seed(seed + trainer.steps)
    recent = deque[float](maxlen=50)
    start, saved = time.monotonic() - trainer.spent, trainer.spent
    while (spent := time.monotonic() - start) < 60 * minutes:
        trainer.spent = spent
        recent.append(trainer.step(training, spent / (60 * minutes)))
        loss = fmean(recent)  # that of one batch tells more about its photos than about the network
        if trainer.steps % 50 == 0:
            print(f"{spent / 60:7.1f} min  step {trainer.steps}  loss {loss:.5f}", flush=True)
        if spent - saved > SAVE_S:
            saved = spent
            table = judge(trainer.methods(final=False), validation)[trainer.headline]
            row = {"minutes": round(spent / 60, 1), "step": trainer.steps, "loss": round(loss, 5)}
            trainer.curve.append(row | {key: table[key] for key in ("psnr_y", "ssim")})
            print("validation", json.dumps(trainer.curve[-1]), flush=True)
            trainer.save(out)
    trainer.write_checkpoint(out)
    report = trainer.report(minutes, training, validation)
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")


def command(description: str | None, build: Callable[[str], Trainer[Any]]) -> None:
    """The command line of a demo's trainer."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("photos", type=Path, help="folder written by demo_photos.py")
    parser.add_argument("out", type=Path, help="folder for weights, state and report")
    parser.add_argument("--minutes", type=float, default=180, help="length of the whole run")
    parser.add_argument("--resume", action="store_true", help="continue from OUT/state.pt")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    train(build, given.photos, given.out, minutes=given.minutes, resume=given.resume, seed=given.seed)
