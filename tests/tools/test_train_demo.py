"""The InDI demo's trainer: it starts as bicubic enlargement, learns, and writes the documented format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from lqhq.export.families.indi.film_resnet import FilmResNet
from lqhq.tools.demo_pairs import Pairs, enlarge4, to_tensor
from lqhq.tools.train_demo import CONFIG, InDITrainer, restore


class Small(InDITrainer):
    side, count = 8, 2


@pytest.fixture(scope="module", autouse=True)
def optimiser() -> None:
    """The first AdamW imports torch's compiler, which takes seconds: none of a test's time."""
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])


@pytest.fixture
def pairs(tmp_path: Path) -> Pairs:
    levels = np.random.default_rng(20260307).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(levels).save(tmp_path / "noise@1.png")
    return Pairs(tmp_path, 0)


def test_learns_from_bicubic_on(pairs: Pairs, tmp_path: Path) -> None:
    torch.manual_seed(20260308)
    trainer = Small("cpu")
    y = enlarge4(to_tensor(pairs.lr[0])[None])
    torch.testing.assert_close(restore(trainer.network, y, 2), y, rtol=0, atol=1e-6)
    losses = [trainer.step(pairs, 0.0) for _ in range(2)]
    assert np.isfinite(losses).all()
    assert not torch.equal(restore(trainer.average, y, 1), y)

    trainer.write_checkpoint(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    stored = FilmResNet(**{name: config[name] for name in CONFIG})
    stored.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert torch.equal(restore(stored, y, 1), restore(trainer.average, y, 1))
    assert config["tiles"]["trained"] == 32


def test_the_curve_is_that_of_one_step(pairs: Pairs) -> None:
    trainer = Small("cpu")
    assert list(trainer.methods(final=False)) == [trainer.headline] == ["N=1"]
    assert list(trainer.methods(final=True)) == ["N=1", "N=2", "N=4"]
