"""Moments of a canvas that comes in strips: exact, whatever the strips and however far the mean is from zero."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from lqhq.runtime import moments
from lqhq.runtime.geometry import Size
from lqhq.runtime.moments import RowMoments

SEED = 5_001
EPS = 1e-6
Array = NDArray[np.float32]


def canvas(*, mean: float = 0.0, std: float = 1.0, shape: tuple[int, int, int] = (8, 23, 19)) -> Array:
    """Rows differ in level, as an image's do: the spread between strips is most of the whole."""
    draw = np.random.default_rng(SEED)
    rows = np.linspace(-2, 2, shape[1])[:, None]
    return (mean + std * (draw.standard_normal(shape) + rows)).astype(np.float32)


def measured(values: Array, strips: list[slice], groups: int = 4) -> tuple[Array, Array]:
    found = RowMoments(len(values), Size(*values.shape[1:]))
    for strip in strips:
        found.add(strip.start, values[:, strip])
    return found.normalisers(groups, EPS)


def wanted(values: Array, groups: int = 4) -> tuple[Array, Array]:
    """By the definition, in float64."""
    grouped = values.astype(np.float64).reshape(groups, -1)
    share = len(values) // groups
    return np.repeat(grouped.mean(1), share), np.repeat(1 / np.sqrt(grouped.var(1) + EPS), share)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (3.0, 0.1), (1e4, 1.0), (-1e6, 10.0), (0.0, 1e-4), (0.0, 1e8)])
def test_as_the_definition(mean: float, std: float) -> None:
    values = canvas(mean=mean, std=std)
    found, true = measured(values, [slice(0, 23)]), wanted(values)
    assert np.abs(found[0] - true[0]).max() <= 1e-7 * max(abs(mean), std)
    assert np.abs(found[1] / true[1] - 1).max() <= 3e-7


@pytest.mark.parametrize("block", [1, 40, 1 << 17])
def test_strips_do_not_show(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, in any order, and in whatever blocks a strip is measured."""
    values = canvas(mean=50)
    whole = measured(values, [slice(0, 23)])
    monkeypatch.setattr(moments, "BLOCK", block)
    rows = [slice(row, row + 1) for row in range(23)]
    for strips in (rows, rows[::-1], [slice(7, 23), slice(0, 7)]):
        for one, other in zip(measured(values, strips), whole, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_row_that_counts_twice_is_seen() -> None:
    """The planted fault: halo rows counted."""
    values = canvas()
    found = RowMoments(8, Size(25, 19))
    found.add(0, values[:, :13])
    found.add(13, values[:, 11:])
    assert np.abs(found.normalisers(4, EPS)[1] / wanted(values)[1] - 1).max() > 1e-4


def test_a_lost_spread_between_strips_is_seen() -> None:
    """The planted fault: variances averaged, as if all strips had one mean."""
    values = canvas()
    true = wanted(values)[1]
    parts = [wanted(values[:, strip])[1] for strip in (slice(0, 12), slice(12, 23))]
    averaged = 1 / np.sqrt(sum(part**-2 for part in parts) / 2)
    assert np.abs(averaged / true - 1).max() > 0.05


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_stays_so(bad: float) -> None:
    values = canvas()
    values[0, 3, 4] = bad
    mean, rstd = measured(values, [slice(0, 10), slice(10, 23)])
    assert not np.isfinite(mean[0] * rstd[0])
    assert np.isfinite(mean[2:]).all()
    assert np.isfinite(rstd[2:]).all()
