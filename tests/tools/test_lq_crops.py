"""Crops lie on the grid of their photo's JPEG, come from a seed, and from a pool that is renewed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lqhq.tools.lq_crops import FRESH, GRID, Crops

SEED = 20261122


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(SEED)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 256, (320, 400, 3), dtype=np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


def test_batches_come_from_the_seed(photos: Path) -> None:
    one, again, other = (Crops(photos, seed, pool=3).batch(4, 64) for seed in (1, 1, 2))
    assert one.shape == (4, 3, 64, 64)
    assert one.dtype == torch.float32
    assert -1 <= one.min() < -0.2
    assert 0.2 < one.max() <= 1
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_crops_lie_on_the_grid(photos: Path) -> None:
    crops = Crops(photos, SEED, pool=1)
    rows, columns = np.indices(crops.pool[0].shape[:2])
    crops.pool[0] = np.stack([rows, columns, rows], axis=-1).astype(np.uint8)
    corners = {tuple(crops._crop(64)[0, 0, :2].tolist()) for _ in range(200)}
    assert all(top % GRID == 0 == left % GRID for top, left in corners)
    height, width = crops.pool[0].shape[:2]
    assert len(corners) == ((height - 64) // GRID + 1) * ((width - 64) // GRID + 1)


def test_the_pool_is_renewed(photos: Path) -> None:
    crops = Crops(photos, SEED, pool=2)
    first = list(crops.pool)
    for _ in range(FRESH - 1):
        crops.batch(1, 64)
    assert all(kept is photo for kept, photo in zip(crops.pool, first, strict=True))
    crops.batch(1, 64)
    assert crops.pool[0] is first[1]
    assert crops.pool[1] is not first[1]
    assert crops.made == 3
