"""Bounds of numbers in a manifest; what the whole must be is in test_bundle.py."""

from __future__ import annotations

import math

import msgspec
import pytest

from lqhq.runtime.manifest import Memory, Pixels


@pytest.mark.parametrize("ends", [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0), (0.0, 1e-3), (0.0, 1e6), (-5e5, 5e5)])
def test_ranges_that_networks_have(ends: tuple[float, float]) -> None:
    assert Pixels(range=ends, order="rgb").range == ends


@pytest.mark.parametrize(
    "ends",
    [
        (1.0, 1.0),
        (1.0, -1.0),
        (0.0, 9e-4),
        (0.0, 1.1e6),
        (2e6, 2e6 + 1),
        (-math.inf, 1.0),
        (0.0, math.inf),
        (math.nan, 1.0),
        (0.0, math.nan),
    ],
)
def test_ranges_without_meaning_in_float32(ends: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Pixels(range=ends, order="rgb")


@pytest.mark.parametrize(("field", "most"), [("fixed", 1 << 50), ("per_pixel", 1e9), ("per_pair", 1e6)])
def test_memory_has_bounds(field: str, most: float) -> None:
    least = {"fixed": 1, "per_pixel": 1.0, "per_pair": 0.0}
    found = msgspec.convert({**least, field: most}, Memory)
    assert math.isfinite(found.peak((1 << 16) ** 2))
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert({**least, field: most * 2}, Memory)
