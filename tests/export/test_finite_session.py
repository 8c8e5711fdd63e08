"""What is no finite number is counted, in every output and every call."""

from __future__ import annotations

import numpy as np

from lqhq.export.finite_session import FiniteSession


class Gives:
    """A session that gives what it is told, and knows whether it was closed."""

    largest, profiles = 7, ()

    def __init__(self, **arrays: list[float]) -> None:
        self.arrays, self.closed = {name: np.float32(values) for name, values in arrays.items()}, False

    def run(self, feed):
        return self.arrays | dict(feed)

    def close(self) -> None:
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def test_nan_and_infinities_of_all_outputs_and_calls_are_counted():
    session = FiniteSession(Gives(a=[1, np.nan, np.inf], b=[-np.inf, 0]))
    assert session.broken == 0
    assert set(session.run({"c": np.ones(1, np.float32)})) == {"a", "b", "c"}  # passed on as it is
    assert session.broken == 3
    session.run({})
    assert session.broken == 6


def test_large_numbers_are_no_fault():
    session = FiniteSession(Gives(a=[3e38, -1e-45, 0]))
    session.run({})
    assert session.broken == 0


def test_it_is_the_session_in_all_else():
    inner = Gives(a=[1])
    with FiniteSession(inner) as session:
        assert session.largest == 7
        assert not inner.closed
    assert inner.closed
