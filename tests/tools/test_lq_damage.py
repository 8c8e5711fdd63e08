"""The damage is what it says: seeded, on JPEG's grid, with noise that a mosaic spreads and film does not colour."""

from __future__ import annotations

import numpy as np
import pytest

from lqhq.tools.lq_damage import FILM, blur, damage, film, jpeg, mosaic_noise, phone
from lqhq.tools.lq_statistics import statistics

SEED = 20261122
EVERYWHERE = np.ones((96, 120), bool)


@pytest.fixture
def grey() -> np.ndarray:
    """A slope of greys, `[96, 120, 3]`."""
    slope = np.add.outer(np.linspace(60, 120, 96), np.linspace(0, 60, 120))
    return np.repeat(slope[..., None], 3, axis=2).astype(np.uint8)


def test_damage_is_a_function_of_the_seed(grey: np.ndarray) -> None:
    one, again, other = (damage(grey, seed) for seed in ((SEED, 1), (SEED, 1), (SEED, 2)))
    assert one.dtype == np.uint8
    assert one.shape == grey.shape
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_blur_keeps_the_mean_and_spreads_a_point() -> None:
    image = np.zeros((33, 33, 1), np.float32)
    image[16, 16] = 1
    spread = blur(image, 1.5)
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    at = np.arange(33) - 16
    assert float((spread[..., 0].sum(0) * at**2).sum()) == pytest.approx(1.5**2, rel=0.05)
    assert blur(np.full((9, 9, 3), 7, np.float32), 2.0) == pytest.approx(7)


def test_mosaic_noise_grows_with_light_and_red_is_spread_wider() -> None:
    dark, light = (
        mosaic_noise(np.full((128, 128, 3), level, np.float32), 0.01, np.random.default_rng(SEED))
        for level in (0.05, 0.5)
    )
    assert light.std() > 2 * dark.std()
    near = [float((light[:, 1:, k] * light[:, :-1, k]).mean() / light[..., k].var()) for k in range(3)]
    assert near[0] > 0.4  # 3/4 of red's pixels are means of neighbours
    assert near[2] > 0.4
    assert 0.1 < near[1] < near[0]
    assert abs(float(light.mean())) < 0.01


def test_jpeg_leaves_its_grid(grey: np.ndarray) -> None:
    noisy = np.clip(grey + np.random.default_rng(SEED).normal(0, 12, grey.shape), 0, 255).astype(np.uint8)
    assert statistics(noisy, EVERYWHERE)["blockiness"] == pytest.approx(1, abs=0.1)
    assert statistics(jpeg(noisy, 25), EVERYWHERE)["blockiness"] > 1.2
    # The check can fail: a grid that starts elsewhere is not the one that crops are aligned with.
    shifted = np.roll(jpeg(noisy, 25), (4, 4), axis=(0, 1))
    assert statistics(shifted, EVERYWHERE)["blockiness"] < 1


def test_phone_has_blotches_of_colour_and_film_is_mostly_grey(grey: np.ndarray) -> None:
    found = {}
    for look in (phone, film):
        damaged = look(grey.astype(np.float32), np.random.default_rng(SEED))
        found[look.__name__] = statistics(np.clip(np.rint(damaged), 0, 255).astype(np.uint8), EVERYWHERE)
    assert found["phone"]["blotch size"] > 0.5
    assert found["film"]["blotch size"] < 0.35
    assert found["film"]["colour noise"] < 0.6 * found["film"]["luma noise"]


def test_share_of_film(grey: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    scans = sum(np.random.default_rng((SEED, k)).random() < FILM for k in range(400))
    assert 0.8 * FILM < scans / 400 < 1.2 * FILM
    seen = []
    monkeypatch.setattr("lqhq.tools.lq_damage.film", lambda image, draw: seen.append(0) or image)
    for k in range(20):
        damage(grey[:16, :16], (SEED, k))
    assert len(seen) == sum(np.random.default_rng((SEED, k)).random() < FILM for k in range(20)) > 0
