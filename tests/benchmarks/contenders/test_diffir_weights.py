"""The benchmark's checkpoints are the official ones in size and format, and both sides run the same network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from contenders import diffir_weights as weights
from contenders.diffir_eager import eager

from lqhq.export.families.diffir.load_official import load
from lqhq.export.families.diffir.network import DiffIR

PARAMETERS = {"X4": 24_971_206, "DEBLUR": 26_911_934}  # counted on the official classes; also in users' logs


@pytest.mark.parametrize("name", PARAMETERS)
def test_full_size_is_the_official_size(name: str) -> None:
    described = getattr(weights, name)
    schedule = weights.network(weights.TINY).schedule
    with torch.device("meta"):
        module = DiffIR(
            described.shape,
            fold=described.fold,
            encoder_blocks=described.encoder_blocks,
            denoiser_blocks=1,
            schedule=schedule,
        )
    assert sum(parameter.numel() for parameter in module.parameters()) == PARAMETERS[name]


def test_the_checkpoint_is_loaded_as_the_official_ones_are(tmp_path: Path) -> None:
    path = weights.write_checkpoint(weights.TINY, tmp_path / "w.pth")
    tensors = torch.load(path, weights_only=True)["params_ema"]
    notes: list[str] = []
    loaded, wanted = load("w.pth", tensors, notes), weights.network(weights.TINY)
    assert len(notes) == 1
    assert "copies" in notes[0]
    assert loaded.schedule == wanted.schedule
    assert loaded.schedule.c1 == pytest.approx((1, 0.765186906, 0.636269748, 0.505926788), rel=1e-6)
    assert all(torch.equal(tensor, wanted.state_dict()[name]) for name, tensor in loaded.state_dict().items())
    assert sum(name.startswith("diffusion.") and name.count(".") == 1 for name in tensors) == 12


def test_eager_restores_with_the_weights_it_is_given(tmp_path: Path) -> None:
    """The planted fault: one changed tensor changes the image."""
    path = weights.write_checkpoint(weights.TINY, tmp_path / "w.pth")
    entry = eager(str(path), 16, 1)
    assert entry.answer is not None
    image = entry.answer()
    assert image.shape == (1, 3, 64, 64)
    assert np.isfinite(image).all()
    stored = torch.load(path, weights_only=True)
    stored["params_ema"]["G.tail.1.bias"] += 0.1
    torch.save(stored, path)
    changed = eager(str(path), 16, 1)
    assert changed.answer is not None
    assert np.abs(changed.answer() - image - 0.1).max() < 1e-5
