"""Noise against its moments on flat images, and Poisson counts against NumPy's own."""

from __future__ import annotations

import numpy as np
import pytest

from lqhq.runtime.degrade.draws import Draws
from lqhq.runtime.degrade.noising import _distribution, _shot, correlated_noise, gaussian_noise, poisson_noise
from lqhq.runtime.degrade.steps import CorrelatedNoise, GaussianNoise, PoissonNoise

KEY = b"noise of twenty-five November 26"
SIDE = 200


def flat(level=0.5):
    return np.full((SIDE, SIDE, 3), level, np.float32)


def draws():
    return Draws(KEY, 1)


def stated(noise, sigma):
    """Whether `noise` has this deviation, in levels: five standard errors of it."""
    return abs(noise.std() * 255 / sigma - 1) < 5 / np.sqrt(2 * noise.size / 3)


@pytest.mark.parametrize("sigma", [1.0, 15.0, 30.0])
def test_gaussian_sigma(sigma):
    noise = gaussian_noise(flat(), GaussianNoise(sigma=sigma, gray=False), draws()) - 0.5
    assert noise.dtype == np.float32
    assert stated(noise, sigma)
    assert not stated(noise, sigma * 1.05)  # planted
    assert abs(np.corrcoef(noise.reshape(-1, 3).T) - np.eye(3)).max() < 0.025
    assert abs(noise.mean()) * 255 < 5 * sigma / np.sqrt(noise.size)


def test_gray_noise_is_equal_in_the_channels():
    gray = gaussian_noise(flat(), GaussianNoise(sigma=9, gray=True), draws()) - 0.5
    assert np.array_equal(gray[..., 0], gray[..., 2])
    assert stated(gray, 9)
    shot = poisson_noise(flat(), PoissonNoise(scale=1, gray=True), draws()) - 0.5
    assert np.array_equal(shot[..., 0], shot[..., 2])


def test_noise_is_clipped():
    for step in (GaussianNoise(sigma=64, gray=False), PoissonNoise(scale=16, gray=False)):
        noisy = (gaussian_noise if isinstance(step, GaussianNoise) else poisson_noise)(flat(0.9), step, draws())
        assert noisy.min() >= 0
        assert noisy.max() == 1


def test_covariance():
    stated_covariance = ((300.0, 100.0, 50.0), (100.0, 200.0, 0.0), (50.0, 0.0, 80.0))
    noise = correlated_noise(flat(), CorrelatedNoise(covariance=stated_covariance), draws()) - 0.5
    found = np.cov(noise.reshape(-1, 3).T * 255)
    assert abs(found - stated_covariance).max() < 10  # five standard errors of the largest
    swapped = np.cov(noise[..., ::-1].reshape(-1, 3).T * 255)  # planted: channels in the wrong order
    assert abs(swapped - stated_covariance).max() > 100


def test_a_covariance_of_one_direction():
    step = CorrelatedNoise(covariance=((100.0,) * 3,) * 3)
    noise = correlated_noise(flat(), step, draws()) - 0.5
    assert abs(noise[..., 0] - noise[..., 1]).max() < 1e-5
    assert stated(noise, 10)


def test_poisson_moments_follow_the_level_and_the_scale():
    image = flat()
    image[:, :, :] = np.linspace(0, 1, 256, dtype=np.float32)[np.arange(SIDE) + 28][:, None, None]
    noise = poisson_noise(image, PoissonNoise(scale=0.5, gray=False), draws()) - image  # 200 levels: V = 256
    assert abs(noise.mean()) < 1e-4
    rows = noise.reshape(SIDE, -1).astype(np.float64)
    inner = slice(0, 140)  # above, noise reaches 1 and is clipped
    expected = 0.25 * image[inner, 0, 0] / 256
    assert abs(rows[inner].var(axis=1) / expected - 1).mean() < 0.1
    assert abs(rows[inner].var(axis=1).mean() / expected.mean() - 1) < 0.02
    assert abs(rows[inner].var(axis=1).mean() / (2 * expected.mean()) - 1) > 0.4  # planted: scale squared twice


def test_few_levels_give_much_noise():
    """One level: V = 1, and each value becomes a small whole number."""
    noise = _shot(np.full(50000, 128, np.uint8), draws())
    counts = np.rint(noise + 128 / 255)
    assert np.allclose(noise + 128 / 255, counts, atol=1e-6)
    assert abs(counts.mean() - 128 / 255) < 0.02
    assert abs(counts.var() - 128 / 255) < 0.02


@pytest.mark.parametrize("levels", [[0], [0, 255], [255], list(range(256))])
def test_extreme_levels(levels):
    noise = _shot(np.repeat(np.array(levels, np.uint8), 50), draws())
    assert np.isfinite(noise).all()
    if levels[0] == 0:
        assert not noise[:50].any()  # black has no counts


def test_distribution_functions():
    mean = np.array([0.0, 0.01, 3.0, 256.0])
    table = _distribution(mean)
    assert (np.diff(table, axis=1) >= 0).all()
    assert (table[:, -1] == 1).all()
    assert table[0].min() == 1
    found = (1 - table).sum(axis=1)  # E[count] = sum of P(count > k)
    assert np.allclose(found, mean, rtol=1e-10, atol=1e-12)
    second = (2 * np.arange(table.shape[1]) * (1 - table)).sum(axis=1) + found
    assert np.allclose(second - found**2, mean, rtol=1e-8, atol=1e-12)


def test_one_pixel():
    pixel = np.full((1, 1, 3), 0.3, np.float32)
    for step, apply in (
        (GaussianNoise(sigma=3, gray=False), gaussian_noise),
        (PoissonNoise(scale=0.5, gray=True), poisson_noise),
    ):
        assert apply(pixel, step, draws()).shape == (1, 1, 3)
