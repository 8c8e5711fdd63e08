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


LATENT = {"lq": ("N", 3, "8H", "8W"), "noise": ("N", 4, "H", "W")}


@pytest.mark.parametrize("order", [["lq", "noise"], ["noise", "lq"]])
def test_multiples_of_an_axis_follow_its_letter(order):
    shapes = {"lq": (1, 3, 24, 40), "noise": (1, 4, 3, 5)}
    inputs = {name: LATENT[name] for name in order}
    given = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    assert check_feed("x", inputs, given) == {"N": 1, "H": 3, "W": 5}
    # The planted faults: another size, no whole number of latents, less than one.
    for wrong in ((1, 3, 24, 48), (1, 3, 25, 40), (1, 3, 24, 5), (1, 3, 4, 40)):
        with pytest.raises(EngineError, match=r"found (lq|noise) float32 .*; expected (lq|noise) float32"):
            check_feed("x", inputs, given | {"lq": np.zeros(wrong, np.float32)})


def test_a_multiple_alone_still_divides():
    with pytest.raises(EngineError, match=r"found lq float32 \[1, 3, 20, 40\]; expected lq float32 \[N, 3, 8H, 8W\]"):
        check_feed("x", {"lq": LATENT["lq"]}, {"lq": np.zeros((1, 3, 20, 40), np.float32)})


def test_ids_are_int64_and_nothing_else_is():
    inputs, integers = {"ids": ("N", 5)}, frozenset({"ids"})
    given = np.zeros((2, 5), np.int64)
    assert check_feed("text", inputs, {"ids": given}, integers=integers) == {"N": 2}
    assert check_feed("text", inputs, {"ids": torch.from_numpy(given)}, integers=integers) == {"N": 2}
    for wrong in (given.astype(np.int32), given.astype(np.float32)):
        with pytest.raises(EngineError, match=rf"found ids {wrong.dtype} \[2, 5\]; expected ids int64 \[N, 5\]"):
            check_feed("text", inputs, {"ids": wrong}, integers=integers)
    with pytest.raises(EngineError, match=r"expected ids float32"):
        check_feed("text", inputs, {"ids": given})
    with pytest.raises(EngineError, match=r"ids int64 \[2, 6\]"):
        check_feed("text", inputs, {"ids": np.zeros((2, 6), np.int64)}, integers=integers)
