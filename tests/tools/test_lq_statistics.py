"""Statistics of damage, each on noise whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from lqhq.tools.lq_damage import blur
from lqhq.tools.lq_statistics import STATISTICS, calm, content_psnr, remaining, statistics

SEED = 20261122
EVERYWHERE = np.ones((128, 128), bool)


def image(noise: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(128 + noise), 0, 255).astype(np.uint8)


def test_white_noise_of_luma() -> None:
    noise = np.random.default_rng(SEED).normal(0, 10, (128, 128, 1)).repeat(3, axis=2)
    found = statistics(image(noise), EVERYWHERE)
    assert tuple(found) == STATISTICS
    # What a Gaussian of 1 px takes from white noise: 1 - 2 g(0) + sum g^2, g(0) = 0.159, sum g^2 = 0.080.
    assert found["luma noise"] == pytest.approx(10 * (1 - 2 * 0.159 + 0.080) ** 0.5, rel=0.05)
    assert found["colour noise"] < 0.5
    assert found["blockiness"] == pytest.approx(1, abs=0.05)
    assert found["grain size"] < 0


def test_size_of_blotches_tells_smooth_noise_from_white() -> None:
    white = np.random.default_rng(SEED).normal(0, 30, (128, 128, 3)).astype(np.float32)
    sizes = [statistics(image(noise), EVERYWHERE)["blotch size"] for noise in (white, 3 * blur(white, 1.5))]
    assert sizes[0] < 0.1
    assert sizes[1] > 0.4


def test_blockiness_sees_steps_on_the_grid_only() -> None:
    steps = np.random.default_rng(SEED).normal(0, 20, (16, 16, 1)).repeat(8, 0).repeat(8, 1).repeat(3, 2)
    rough = np.random.default_rng(SEED + 1).normal(0, 2, (128, 128, 3))
    assert statistics(image(steps + rough), EVERYWHERE)["blockiness"] > 3
    assert statistics(image(np.roll(steps, 3, axis=(0, 1)) + rough), EVERYWHERE)["blockiness"] < 1


def test_calm_is_where_nothing_happens() -> None:
    photo = np.full((64, 64, 3), 90, np.uint8)
    photo[:, 32:] = np.random.default_rng(SEED).integers(0, 255, (64, 32, 3))
    where = calm(photo)
    assert where[:, :10].all()
    assert not where[:, 16:].any()


def test_content_outlasts_noise_but_not_a_shift() -> None:
    photo = image(60 * blur(np.random.default_rng(SEED).normal(0, 8, (128, 128, 3)).astype(np.float32), 4.0))
    noisy = image(photo.astype(float) - 128 + np.random.default_rng(SEED).normal(0, 10, photo.shape))
    assert content_psnr(photo, noisy) > 40
    assert content_psnr(photo, np.roll(photo, 8, axis=1)) < 25


def test_remaining_is_a_part_of_the_distance() -> None:
    assert remaining([0.0, 0.0], [0.5, 1.0], [1.0, 1.0]) == pytest.approx(0.25)
    assert remaining([0.0], [1.0], [1.0]) == 0
    assert remaining([0.0], [2.5], [1.0]) == pytest.approx(1.5)
