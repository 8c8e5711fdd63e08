"""Filters against their moments, their spectra and formulas written in another way."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from lqhq.runtime.degrade.filters import _bessel1, blur_weights, gaussian_row, sinc_weights, subsample_weights
from lqhq.runtime.degrade.steps import Blur, Sinc, Subsample

KINDS = ("iso", "aniso", "generalised_iso", "generalised_aniso", "plateau_iso", "plateau_aniso")


def moments(weights):
    """Variance along x (columns) and y (rows, upwards), and their covariance."""
    line = np.arange(len(weights)) - len(weights) // 2
    x, y = line[None, :], -line[:, None]
    assert abs((weights * x).sum()) < 1e-12
    assert abs((weights * y).sum()) < 1e-12
    return (weights * x * x).sum(), (weights * y * y).sum(), (weights * x * y).sum()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 7, 21])
@pytest.mark.parametrize("sigma", [(0.0, 0.0), (0.2, 3.0), (50.0, 64.0)])
@pytest.mark.parametrize("beta", [0.1, 8.0])
def test_every_blur_keeps_the_mean_and_is_symmetric(kind, size, sigma, beta):
    weights = blur_weights(Blur(kind=kind, size=size, sigma=sigma, angle=0.7, beta=beta))
    assert weights.shape == (size, size)
    assert abs(weights.sum() - 1) < 1e-12
    assert weights.min() >= 0
    assert np.allclose(weights, weights[::-1, ::-1], rtol=1e-12, atol=0)


def test_second_moments_are_sigma_turned():
    angle, sigma = 0.6, (2.4, 1.1)
    xx, yy, xy = moments(blur_weights(Blur(kind="aniso", size=21, sigma=sigma, angle=angle)))
    c, s = math.cos(angle), math.sin(angle)
    expected = np.array([[c, -s], [s, c]]) @ np.diag(np.square(sigma)) @ np.array([[c, s], [-s, c]])
    assert np.allclose([xx, yy, xy], [expected[0, 0], expected[1, 1], expected[0, 1]], rtol=2e-3)
    wrong = moments(blur_weights(Blur(kind="aniso", size=21, sigma=sigma, angle=-angle)))  # planted
    assert abs(wrong[2] - xy) > 1


@pytest.mark.parametrize("sigma", [0.8, 1.0, 2.0])
def test_second_moments_of_isotropic_blur(sigma):
    xx, yy, xy = moments(blur_weights(Blur(kind="iso", size=21, sigma=(sigma, sigma))))
    assert np.allclose([xx, yy], sigma**2, rtol=2e-3)  # at 0.5 pixels the samples alone are 14 % narrower
    assert abs(xy) < 1e-12


def test_exponents():
    middle, side = 10, 13
    gentle = blur_weights(Blur(kind="generalised_iso", size=21, sigma=(2.0, 2.0), beta=0.5))
    assert np.isclose(gentle[middle, side] / gentle[middle, middle], math.exp(-0.5 * 3 / 2))
    plateau = blur_weights(Blur(kind="plateau_iso", size=21, sigma=(2.0, 2.0), beta=2.0))
    assert np.isclose(plateau[middle, side] / plateau[middle, middle], 1 / (1 + (9 / 4) ** 2))
    one = blur_weights(Blur(kind="generalised_iso", size=21, sigma=(2.0, 2.0), beta=1.0))
    assert np.array_equal(one, blur_weights(Blur(kind="iso", size=21, sigma=(2.0, 2.0))))


def test_bessel_function():
    """Against its power series, of exact fractions: torch's own is wrong in the seventh place near x = 5."""
    for x in (Fraction(0), Fraction(1, 3), Fraction(41, 8), Fraction(30), Fraction(138)):
        term, total = x / 2, x / 2
        for k in range(1, 240):
            term *= -x * x / (4 * k * (k + 1))
            total += term
        assert abs(_bessel1(np.array([float(x)]))[0] - float(total)) < 1e-13


@pytest.mark.parametrize("cutoff", [1 / 3, 0.5, 0.75])
def test_sinc_passes_below_its_cutoff_and_stops_above(cutoff):
    weights = sinc_weights(Sinc(size=63, cutoff=cutoff))
    assert abs(weights.sum() - 1) < 1e-12
    frequency = np.arange(63) - 31
    for part, low, high in ((0.75, 0.85, 1.15), (1.25, -0.15, 0.15)):
        w = math.pi * cutoff * part
        gain = (weights * np.cos(w * frequency)[None, :]).sum()
        assert low < gain < high
    assert weights.min() < 0  # it rings


def test_sinc_at_the_ends():
    assert np.allclose(sinc_weights(Sinc(size=7, cutoff=0.0)), 1 / 49, rtol=1e-6)
    assert sinc_weights(Sinc(size=1, cutoff=0.5)).tolist() == [[1.0]]


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_subsampling_looks_at_the_middle_of_its_cell(factor):
    weights = subsample_weights(Subsample(sigma=1.5, size=25, factor=factor))
    line = np.arange(25) - 12
    assert np.isclose((weights * line[None, :]).sum(), (factor - 1) / 2)
    assert np.isclose((weights * line[:, None]).sum(), (factor - 1) / 2)
    assert abs(weights.sum() - 1) < 1e-12


def test_a_narrow_gaussian_between_pixels_is_their_mean():
    weights = subsample_weights(Subsample(sigma=0.0, size=5, factor=2))
    assert np.allclose(weights[2:4, 2:4], 0.25)


def test_opencv_rule_for_sigma():
    row = gaussian_row(51)
    line = np.arange(51) - 25
    assert abs(row.sum() - 1) < 1e-12
    assert np.isclose(row[26] / row[25], math.exp(-0.5 / 8.0**2))  # sigma 8
    assert (row * line * line).sum() < 64
    assert gaussian_row(1).tolist() == [1.0]
