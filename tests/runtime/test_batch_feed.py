"""Feeds of works are stacked in order and filled up to the size."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lqhq.runtime.batch_feed import batch_feed


def work(value: float) -> Any:
    feed = {"state": np.full((1, 3, 2, 2), value, np.float32), "t": np.full((1,), value, np.float32)}
    return SimpleNamespace(feed=lambda: feed)


@pytest.mark.parametrize(("works", "size"), [(1, 1), (1, 3), (2, 3), (3, 3), (3, 8)])
def test_samples_are_in_order_and_the_last_is_repeated(works: int, size: int) -> None:
    fed = batch_feed([work(value) for value in range(works)], size)
    expected = [min(value, works - 1) for value in range(size)]
    assert fed["t"].tolist() == expected  # planted by design: any other order or filling is another list
    assert [sample[0, 0, 0] for sample in fed["state"]] == expected
    assert (fed["state"].shape, fed["state"].dtype) == ((size, 3, 2, 2), np.float32)


def test_one_alone_is_not_copied() -> None:
    one = work(1.0)
    assert batch_feed([one], 1) is one.feed()
