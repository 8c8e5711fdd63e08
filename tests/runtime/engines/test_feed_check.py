"""Feeds against the shapes of a graph; the contract suite feeds the wrong ones to every engine."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lqhq.runtime.engines.feed_check import check_feed
from lqhq.runtime.errors import EngineError

INPUTS = {"lq": ("N", 3, "H", "W"), "mask": ("N", 1, "H", "W"), "cond": ("N", 8)}


def feed(**changes):
    shapes = {"lq": (2, 3, 4, 6), "mask": (2, 1, 4, 6), "cond": (2, 8)} | changes
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def test_the_lengths_of_named_axes_are_told():
    assert check_feed("x", INPUTS, feed()) == {"N": 2, "H": 4, "W": 6}
    assert check_feed("x", {"v": (None, 3)}, {"v": np.zeros((5, 3), np.float32)}) == {}


def test_tensors_are_looked_at_alike():
    given = {name: torch.from_numpy(array) for name, array in feed().items()}
    assert check_feed("x", INPUTS, given)["W"] == 6
    with pytest.raises(EngineError, match=r"cond float64 \[2, 8\]; expected cond float32 \[2, 8\]"):
        check_feed("x", INPUTS, given | {"cond": given["cond"].double()})


@pytest.mark.parametrize(
    "wrong", [{"cond": (1, 8)}, {"mask": (2, 1, 6, 4)}, {"lq": (2, 4, 4, 6)}, {"cond": (2, 8, 1)}, {"lq": (2, 3, 0, 6)}]
)
def test_a_wrong_shape_is_named(wrong):
    with pytest.raises(EngineError, match=r"found (cond|mask|lq) float32 \[.*expected"):
        check_feed("denoise", INPUTS, feed(**wrong))


def test_names_must_be_those_of_the_graph():
    with pytest.raises(EngineError, match="found inputs cond, lq; expected cond, lq, mask"):
        check_feed("x", INPUTS, {name: array for name, array in feed().items() if name != "mask"})
    with pytest.raises(EngineError, match="found inputs none"):
        check_feed("x", INPUTS, {})
