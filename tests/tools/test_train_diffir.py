"""The DiffIR demo's trainer on a tiny network: it learns, goes on from its state, and writes the official format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lqhq.export.families.diffir.dirformer import Shape
from lqhq.export.families.diffir.load_official import load
from lqhq.export.families.diffir.stored_schedule import BUFFERS
from lqhq.runtime.errors import CheckpointError
from lqhq.tools.demo_metrics import judge
from lqhq.tools.demo_pairs import Pairs, enlarge4, to_tensor
from lqhq.tools.train_diffir import DiffIRTrainer, buffers, is_matrix, restore

TINY = Shape(
    channels=3,
    dim=4,
    blocks=(1, 1, 1, 1),
    refinement=1,
    heads=(1, 1, 1, 1),
    hidden=(4, 8, 16, 32),
    bias=False,
    norm_bias=False,
    tail=True,
    scale=4,
    residual=False,
)


class Tiny(DiffIRTrainer):
    side, count = 8, 2

    def __init__(self) -> None:
        super().__init__("cpu", TINY)


@pytest.fixture(scope="module", autouse=True)
def optimiser() -> None:
    """The first AdamW imports torch's compiler, which takes seconds: none of a test's time."""
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])


@pytest.fixture(autouse=True)
def seed_trainers() -> None:
    torch.manual_seed(20260301)


@pytest.fixture
def pairs(tmp_path: Path) -> Pairs:
    """One photo of 15 x 18 LR pixels: neither is a multiple of 8."""
    levels = np.random.default_rng(20260302).integers(0, 256, (60, 72, 3), np.uint8)
    Image.fromarray(levels).save(tmp_path / "noise@1.png")
    return Pairs(tmp_path, 0)


def weights(trainer: Tiny) -> dict[str, Tensor]:
    return {name: weight.clone() for name, weight in trainer.network.state_dict().items()}


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> set[str]:
    return {name for name in one if not torch.equal(one[name], other[name])}


def test_starts_as_nearest_neighbour(pairs: Pairs) -> None:
    lr = to_tensor(pairs.lr[0])[None]
    nearest = lr.repeat_interleave(4, 2).repeat_interleave(4, 3)
    torch.testing.assert_close(restore(Tiny().network, lr), nearest, rtol=0, atol=1e-6)


def test_batch_keeps_pairs_aligned_and_shuffles_colours_alike(pairs: Pairs) -> None:
    """Each channel of HR, reduced, resembles the same channel of LR more than another."""
    lr, hr = Tiny().batch(pairs)
    assert lr.shape == (2, 3, 8, 8)
    assert hr.shape == (2, 3, 32, 32)
    small = torch.nn.functional.avg_pool2d(hr, 4)
    distances = (small[:, :, None] - lr[:, None]).abs().mean((3, 4))
    assert torch.equal(distances.argmin(2), torch.arange(3).expand(2, 3))
    shuffled = (small[:, :, None] - lr[:, None, [1, 2, 0]]).abs().mean((3, 4))  # planted: another order of colours
    assert not torch.equal(shuffled.argmin(2), torch.arange(3).expand(2, 3))


def test_every_weight_learns(pairs: Pairs) -> None:
    """After the second step: at the first, the zero weights of the last convolution let no gradient through."""
    trainer = Tiny()
    before = weights(trainer)
    losses = [trainer.step(pairs, 0.0) for _ in range(2)]
    assert np.isfinite(losses).all()
    assert differing(before, weights(trainer)) == set(before)


def test_muon_takes_dense_convolutions() -> None:
    matrices = {name for name, weight in Tiny().network.named_parameters() if is_matrix(name, weight)}
    stages = ("down1_2", "down2_3", "down3_4", "up4_3", "up3_2", "up2_1")
    assert matrices == {f"G.{stage}.body.0.weight" for stage in stages} | {"G.tail.0.0.weight", "G.tail.0.2.weight"}


def test_resume_equals_going_on(pairs: Pairs, tmp_path: Path) -> None:
    trainer, resumed = Tiny(), Tiny()
    trainer.step(pairs, 0.0)
    trainer.save(tmp_path)
    resumed.load(tmp_path)
    for one in (trainer, resumed):
        torch.manual_seed(20260303)
        pairs.draw.seed(0)
        one.step(pairs, 0.5)
    assert resumed.steps == trainer.steps == 2
    assert not differing(weights(trainer), weights(resumed))
    torch.manual_seed(20260304)  # planted: other noise
    pairs.draw.seed(0)
    trainer.step(pairs, 0.5)
    resumed.step(pairs, 0.5)
    assert differing(weights(trainer), weights(resumed))


def checkpoint(trainer: Tiny, out: Path) -> dict[str, dict[str, Any]]:
    trainer.write_checkpoint(out)
    state: dict[str, dict[str, Any]] = torch.load(out / "net_g_demo.pth", weights_only=True)
    return state


def test_checkpoint_is_the_official_one(pairs: Pairs, tmp_path: Path) -> None:
    trainer = Tiny()
    trainer.step(pairs, 0.0)
    state = checkpoint(trainer, tmp_path)
    assert sorted(state) == ["params", "params_ema"]
    assert {name.removeprefix("diffusion.") for name in state["params"]} >= BUFFERS
    loaded = load("net_g_demo.pth", state["params_ema"], notes := [])
    assert not differing(loaded.state_dict(), trainer.average.state_dict())
    assert any("copies under 'diffusion.'" in note for note in notes)
    lr = to_tensor(pairs.lr[0])[None]
    torch.testing.assert_close(restore(loaded, lr), restore(trainer.average, lr))
    state["params_ema"]["diffusion.condition.mlp.0.bias"][0] += 1  # planted: shares storage with the original
    load("net_g_demo.pth", state["params_ema"], [])
    state["params_ema"]["diffusion.condition.mlp.0.bias"] = torch.zeros(256)
    with pytest.raises(CheckpointError, match="other numbers"):
        load("net_g_demo.pth", state["params_ema"], [])


def test_schedule_is_the_released_one() -> None:
    expected = {
        "betas": (0.1, 0.294285625, 0.590952277, 0.99),
        "alphas_cumprod": (0.9, 0.635142922, 0.259803772, 0.00259803771),
        "posterior_mean_coef1": (1, 0.765186906, 0.636269748, 0.505926788),
        "posterior_mean_coef2": (0, 0.230245799, 0.315255642, 0.0742124319),
    }
    stored = buffers()
    assert set(stored) == BUFFERS
    for name, values in expected.items():
        torch.testing.assert_close(stored[name], torch.tensor(values), rtol=1e-6, atol=1e-8)


def test_judge_knows_the_better_method(pairs: Pairs) -> None:
    scores = judge({"bicubic": enlarge4, "grey": lambda lr: 0 * enlarge4(lr)}, pairs)
    assert list(scores["bicubic"]["photos"]) == ["noise@1"]
    assert scores["bicubic"]["psnr_y"] > scores["grey"]["psnr_y"]
    assert scores["bicubic"]["ssim"] > scores["grey"]["ssim"]
