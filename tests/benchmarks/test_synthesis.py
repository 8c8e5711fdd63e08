"""The page tells what was measured; an image that differs, or says nothing, ends the run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import synthesis
from contenders.synthesis_share import Times
from measuring.contest import Outcome

SEED = 20_261_128
CASE = synthesis.FULL[0]


def _outcomes(*, changed: int = 0, by: int = 1, flat: float = 0.0, eager: float = 3.0) -> list[Outcome]:
    levels = np.random.default_rng(SEED).integers(1, 250, (64, 64, 3)).astype(np.uint8)
    levels.reshape(-1)[: int(flat * levels.size)] = 255
    ours = levels.copy()
    ours.reshape(-1)[-changed or levels.size :] += by
    return [
        Outcome(name="lqhq", seconds=[2.0, 2.0, 2.0], peak=2_000_000, note="whole", answer=ours),
        Outcome(name="eager", seconds=[eager, 3.0, 4.0], peak=3_000_000, note="contiguous", answer=levels),
    ]


def test_rows_tell_times_and_what_differs() -> None:
    ours, plain = synthesis.rows(CASE, _outcomes(changed=12))
    assert len(ours) == len(plain) == len(synthesis.COLUMNS)
    assert ours == ("lqhq", "2.00", "1", "2", "0.098%, by 1", "whole")
    assert plain == ("eager", "3.00", "1.50 [1.50, 2.00]", "3", "-", "contiguous")


@pytest.mark.parametrize(("changed", "by"), [(1, 2), (1000, 1)])
def test_an_image_that_differs_ends_the_run(changed: int, by: int) -> None:
    """The planted faults: one level by two, and every twelfth by one."""
    with pytest.raises(SystemExit, match="of levels differ"):
        synthesis.rows(CASE, _outcomes(changed=changed, by=by))


def test_an_image_that_says_nothing_ends_the_run() -> None:
    with pytest.raises(SystemExit, match="60% of levels are 0 or 255"):
        synthesis.rows(CASE, _outcomes(flat=0.6))


def test_one_that_failed_ends_the_run() -> None:
    outcomes = _outcomes()
    outcomes[1].failure = "no memory"
    with pytest.raises(SystemExit, match="eager failed: no memory"):
        synthesis.rows(CASE, outcomes)


@pytest.mark.parametrize(("eager", "said"), [(3.0, ": met."), (1.9, ": not met.")])
def test_the_bar_of_speed_is_for_the_lower_end(eager: float, said: str) -> None:
    assert synthesis.speed_verdict(_outcomes(eager=eager)).endswith(said)


@pytest.mark.parametrize(("last", "said"), [(1.972, ": met."), (1.9, ": not met.")])
def test_the_bar_of_the_share_is_for_the_upper_end(last: float, said: str) -> None:
    times = Times(whole=[2.0, 2.0, 2.0], network=[1.98, 1.98, last], calls=2)
    assert synthesis.share_verdict(CASE, times).endswith(said)
    row = synthesis.share_row(CASE, times)
    assert len(row) == len(synthesis.SHARES)
    assert row[1:5] == (2, 3, "2.00", "20.0")
    assert str(row[5]).startswith("1.00 [1.00, ")


def test_a_network_that_is_called_less_ends_the_run() -> None:
    with pytest.raises(SystemExit, match="1 calls of the network; expected 2"):
        synthesis.share_row(CASE, Times(whole=[2.0], network=[1.0], calls=1))


def test_a_child_that_fails_gives_its_words() -> None:
    with pytest.raises(SystemExit, match=r"contenders\.no_such: exit code 1.*no_such"):
        synthesis.child("contenders.no_such", Path("folder"))
