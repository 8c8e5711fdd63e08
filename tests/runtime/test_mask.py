"""Masks: what is the hole, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lqhq.runtime.errors import ImageError, OptionError
from lqhq.runtime.mask import hole_of

IMAGE = np.zeros((3, 4, 3), np.uint8)
FILLS: Any = SimpleNamespace(masked=True, name="fills")
WHOLE: Any = SimpleNamespace(masked=False, name="whole")


@pytest.mark.parametrize("kind", ["bool", "uint8", "uint16", "float32", "int64"])
def test_what_is_above_zero_is_the_hole(kind):
    mask = np.zeros((3, 4), kind)
    mask[1, 2] = 1
    for given in (mask, mask[:, :, None]):
        hole = hole_of(given, IMAGE, FILLS)
        assert hole is not None
        assert hole.shape == (3, 4)
        assert hole.dtype == bool
        assert np.argwhere(hole).tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.zeros((4, 3), np.uint8), r"shape \(4, 3\); expected \[3, 4\]"),
        (np.zeros((3, 4, 3), np.uint8), "one grey value for each pixel"),
        (np.full((3, 4), np.nan, np.float32), "no finite numbers"),
        (np.zeros((3, 4), "U1"), "expected bools or finite numbers"),
        ("mask.png", "found str"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(mask, message):
    with pytest.raises(ImageError, match=message):
        hole_of(mask, IMAGE, FILLS)


def test_a_mask_is_needed_or_refused_as_the_bundle_says():
    assert hole_of(None, IMAGE, WHOLE) is None
    with pytest.raises(OptionError, match="takes no mask"):
        hole_of(np.zeros((3, 4), np.uint8), IMAGE, WHOLE)
    with pytest.raises(OptionError, match="--mask FILE"):
        hole_of(None, IMAGE, FILLS)
