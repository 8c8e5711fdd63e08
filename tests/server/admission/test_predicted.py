"""Cost of a request by what was measured."""

from __future__ import annotations

from typing import Any, cast

import pytest

from lqhq.server.admission.predicted import predict, request_bytes
from lqhq.server.batching.batch_key import BatchKey, Model, fixed_size
from lqhq.server.batching.cost_book import CostBook

KEY = BatchKey(Model("tiny", "1", "fp32", "onnx"), "denoise", 8, 8)


def book(ms: dict[int, float]) -> CostBook:
    made = CostBook()
    for size, each in ms.items():
        for _ in range(3):
            made.measured(KEY, size, each, 0.0)
    return made


def test_full_batches_are_expected():
    predicted = predict({KEY: 10}, fixed_size(4), book({4: 8.0}), size_bytes=7, now_ms=0.0)
    assert (predicted.works, predicted.bytes) == (10, 7)
    assert predicted.ms == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("count", "least"),
    [(1, 3.0), (2, 4.0), (10, 20.0)],  # one call of one; then what samples of the larger cost
)
def test_the_least_is_below_any_way_to_run_it(count, least):
    predicted = predict({KEY: count}, lambda key: (1, 4), book({1: 3.0, 4: 8.0}), size_bytes=0, now_ms=0.0)
    assert predicted.least_ms == pytest.approx(least)


def test_where_one_size_was_not_measured_there_is_no_least():
    predicted = predict({KEY: 9}, lambda key: (1, 4), book({1: 3.0}), size_bytes=0, now_ms=0.0)
    assert predicted.least_ms == 0.0
    assert predicted.ms > 0


def test_bytes_without_what_all_share():
    choice = cast(Any, type("Choice", (), {"peak_bytes": 100}))
    told = request_bytes(choice, engine_bytes=60, coded_bytes=5, tile_bytes=10, held=3)
    assert told == 40 + 5 + 20
    assert request_bytes(choice, engine_bytes=600, coded_bytes=5, tile_bytes=10, held=1) == 5
