"""What every demo's run shares: rates by the clock, and what lies on disk at its end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from lqhq.tools.demo_metrics import Method
from lqhq.tools.demo_pairs import Pairs, enlarge4
from lqhq.tools.demo_run import Rates, Trainer, charbonnier, train


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((1,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * x


class ScaleTrainer(Trainer[Scale]):
    """Learns the gain of bicubic enlargement, which should be 1."""

    side, count, headline = 8, 2, "gain"

    def __init__(self, device: str) -> None:
        network = Scale()
        groups = [(0.05, list(network.parameters()))]
        super().__init__((network, Scale()), device, matrices=[], matrix_rate=0.0, groups=groups, rates=Rates(2))

    def loss(self, pairs: Pairs) -> Tensor:
        x0, y = pairs.batch(self.count, self.side)
        return charbonnier(self.network(y) - x0)

    def methods(self, final: bool) -> dict[str, Method]:
        return {self.headline: lambda lr: self.average(enlarge4(lr))}

    def write_checkpoint(self, out: Path) -> None:
        (out / "gain.txt").write_text(str(self.average.gain.item()))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Smooth slopes of 160 x 160, which bicubic enlargement restores well."""
    slope = np.add.outer(np.arange(160), np.arange(160))
    for part, offset in (("train", 0), ("validation", 40)):
        (tmp_path / part).mkdir()
        levels = np.repeat((slope // 2 + offset).astype(np.uint8)[..., None], 3, axis=2)
        Image.fromarray(levels).save(tmp_path / part / "slope@1.png")
    return tmp_path


def test_rates_warm_up_then_follow_the_clock() -> None:
    rates = Rates(4)
    assert [rates.share(step, 0.0) for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]
    assert rates.share(100, 0.5) == pytest.approx(0.5)
    assert rates.share(100, 1.0) == pytest.approx(0)
    assert rates.share(100, 0.75) < rates.share(100, 0.25)


def test_charbonnier_is_the_size_of_the_error() -> None:
    assert charbonnier(torch.tensor([3.0, -1.0])).item() == pytest.approx(2)
    assert charbonnier(torch.zeros(2)).item() == pytest.approx(1e-3)


@pytest.mark.slow
def test_run_ends_by_the_clock_and_reports(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train(ScaleTrainer, photos, out, minutes=0.02, resume=False, seed=0)
    report = json.loads((out / "report.json").read_text())
    assert report["steps"] > 10
    assert report["patches"] == 2 * report["steps"]
    assert report["parameters"] == 1
    assert set(report["validation"]) == {"gain", "bicubic", "linear"}
    assert float((out / "gain.txt").read_text()) > 0.6
    untrained = tmp_path / "untrained"
    train(ScaleTrainer, photos, untrained, minutes=0, resume=False, seed=0)
    planted = json.loads((untrained / "report.json").read_text())["validation"]
    assert planted["bicubic"] == report["validation"]["bicubic"]
    assert planted["gain"]["psnr_y"] < report["validation"]["gain"]["psnr_y"]


def test_resume_takes_up_the_clock(photos: Path, tmp_path: Path) -> None:
    pairs = Pairs(photos / "train", 0)
    trainer, resumed = ScaleTrainer("cpu"), ScaleTrainer("cpu")
    for _ in range(3):
        trainer.step(pairs, 0.0)
    trainer.spent = 61.0
    trainer.curve.append({"minutes": 1.0})
    trainer.save(tmp_path)
    assert resumed.steps == 0
    resumed.load(tmp_path)
    assert (resumed.spent, resumed.steps, resumed.curve) == (61.0, 3, [{"minutes": 1.0}])
    assert torch.equal(resumed.network.gain, trainer.network.gain)
    assert torch.equal(resumed.average.gain, trainer.average.gain)
    assert not list(tmp_path.glob("*.tmp"))
