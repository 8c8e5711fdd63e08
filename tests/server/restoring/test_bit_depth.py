"""Depths: exact where they can be, nearest where not, whatever the size of the bands."""

from __future__ import annotations

import numpy as np
import pytest

from lqhq.server.restoring import bit_depth
from lqhq.server.restoring.bit_depth import in_depth

EVERY = np.arange(65536, dtype=np.uint16).reshape(256, 256, 1)
U8, U16, F32 = np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32)


def test_eight_bits_survive_sixteen():
    small = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    deep = in_depth(small, U16)
    assert (deep.min(), deep.max()) == (0, 65535)
    np.testing.assert_array_equal(in_depth(deep, U8), small)


def test_the_nearest_of_eight_bits(monkeypatch):
    monkeypatch.setattr(bit_depth, "BAND", 1000)  # several bands, the last one shorter
    nearest = np.floor(EVERY.astype(np.float64) / 257 + 0.5)
    np.testing.assert_array_equal(in_depth(EVERY, U8), nearest)
    assert (in_depth(EVERY + np.uint16(0), U8) == nearest).all()
    assert not (nearest == EVERY // 257).all()  # planted: truncation is not it


@pytest.mark.parametrize("dtype", [U8, U16])
def test_floats_survive_a_depth(dtype):
    values = EVERY[:1] if dtype == U16 else EVERY[:1].astype(np.uint8)
    np.testing.assert_array_equal(in_depth(in_depth(values, F32), dtype), values)


def test_ends_of_the_range_stay():
    ends = np.array([[[0.0], [1.0]]], np.float32)
    assert in_depth(ends, U8).ravel().tolist() == [0, 255]
    assert in_depth(ends, U16).ravel().tolist() == [0, 65535]


def test_what_has_it_is_not_copied():
    assert in_depth(EVERY, U16) is EVERY
