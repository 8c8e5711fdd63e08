"""The page tells strips from the whole graph: what they cost, and that they are equal."""

from __future__ import annotations

import numpy as np
import pytest
import vae_segments
from contenders.vae_forms import planned, vae_inputs
from measuring.contest import Outcome

from lqhq.runtime.latent_spec import GroupNorm, Segment

SEGMENTS = (
    Segment(file="a.onnx", x="input", y="a", channels=8, halo=1),
    Segment(file="b.onnx", x="a", y="b", channels=8, halo=2, down=2, norm=GroupNorm(groups=4, eps=1e-6)),
    Segment(file="c.onnx", x="b", skip="noise", y="output", channels=4, halo=1, norm=GroupNorm(groups=4, eps=1e-6)),
)


def _outcomes(*, strips: float = 2.2, wrong: float = 0.0) -> list[Outcome]:
    answer = np.linspace(-4, 4, 12).reshape(3, 2, 2)
    apart = answer.copy()
    apart[1, 0, 0] += wrong
    forms = [
        Outcome(name="whole graph", seconds=[2.0, 2.0], peak=3_000_000, note="opened before", answer=answer),
        Outcome(name="1 strip", seconds=[2.2, 2.2], peak=2_000_000, note="3 calls", answer=answer),
        Outcome(name="4 strips", seconds=[strips, strips], peak=1_000_000, note="12 calls", answer=apart),
    ]
    return [*forms, Outcome(name="opening alone", seconds=[0.2, 0.2], note="nothing is run", answer=np.zeros(0))]


def test_rows_tell_costs_with_opening_and_without() -> None:
    whole, one, _, opening = vae_segments.rows("decode", _outcomes())
    assert {len(row) for row in (whole, one, opening)} == {len(vae_segments.COLUMNS)}
    assert whole[1:4] == ("2.00", "1", "1")
    assert one[1:5] == ("2.20", "1.10 [1.10, 1.10]", "1.00 [1.00, 1.00]", "2")
    assert opening[2] == "0.10 [0.10, 0.10]"


@pytest.mark.parametrize(("wrong", "said"), [(1e-2, "the whole graph"), (1e-5, "other strips")])
def test_strips_that_are_not_equal_end_the_run(wrong: float, said: str) -> None:
    """The planted fault: one value, above either bound of a largest value of 4."""
    with pytest.raises(SystemExit, match=said):
        vae_segments.rows("decode", _outcomes(wrong=wrong))


def test_one_that_failed_ends_the_run() -> None:
    outcomes = _outcomes()
    outcomes[2].failure = "no memory"
    with pytest.raises(SystemExit, match="4 strips failed: no memory"):
        vae_segments.rows("decode", outcomes)


@pytest.mark.parametrize(("seconds", "met"), [(2.2, True), (2.3, False)])
def test_the_bar(seconds: float, met: bool) -> None:
    text = vae_segments.verdict("decode", _outcomes(strips=seconds))
    assert ("4 strips: 1.10 [1.10, 1.10], met" in text) == met
    assert text.endswith("1e-05: met.")


def test_values_that_are_not_close_enough_are_told() -> None:
    assert vae_segments.verdict("decode", _outcomes(wrong=5e-5)).endswith("the bar is 1e-05: not met.")


def test_less_memory_makes_more_strips() -> None:
    counts = [[step.count for step in planned(SEGMENTS, vae_inputs("encode", 8), size)] for size in (1 << 30, 1 << 16)]
    assert counts[0] == [1, 1, 1]
    assert all(count > 1 for count in counts[1])


def test_inputs_are_those_of_the_role() -> None:
    assert {name: array.shape for name, array in vae_inputs("encode", 2).items()} == {
        "input": (3, 16, 16),
        "noise": (4, 2, 2),
    }
    assert {name: array.shape for name, array in vae_inputs("decode", 2).items()} == {"input": (4, 2, 2)}
