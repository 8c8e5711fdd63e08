"""The counters of a model."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from lqhq.server.metrics.model_counters import ModelCounters
from lqhq.server.restoring.ask import Times
from lqhq.server.v2.statistics import BatchCounters, Duration, model_statistics

TIMES = Times(decode_s=0.001, queue_s=0.002, run_s=0.003, encode_s=0.004)


@pytest.fixture
def counters() -> ModelCounters:
    return ModelCounters(lambda: 1234.9)


def test_every_success_counts_once_in_every_stage(counters: ModelCounters) -> None:
    for times in (TIMES, Times(run_s=1.0)):  # pixels that came as a tensor were not decoded, and count all the same
        counters.arrived()
        counters.succeeded(times, 2.0)
    counters.arrived()
    counters.failed("BACKEND", 0.5)
    told = counters.reading()
    assert (told.success, told.fail) == (Duration(2, 4_000_000_000), Duration(1, 500_000_000))
    assert told.compute_input == Duration(2, 1_000_000)
    assert told.queue == Duration(2, 2_000_000)
    assert told.compute_infer == Duration(2, 1_003_000_000)
    assert told.compute_output == Duration(2, 4_000_000)
    assert (told.images, told.last_ms) == (2, 1234)


def test_a_batch_of_eight(counters: ModelCounters) -> None:
    counters.batch(8, 8, 8 * 64, 1.0, 2.0, 3.0)
    counters.batch(8, 5, 5 * 64, 1.0, 2.0, 3.0)
    told, more = counters.reading(), counters.snapshot()
    assert told.executions == 2
    assert told.batches[8] == BatchCounters(
        compute_input=Duration(1, 1_000_000),
        compute_infer=Duration(1, 2_000_000),
        compute_output=Duration(1, 3_000_000),
    )
    assert set(told.batches) == {5, 8}
    assert (more.tiles, more.padding, more.pixels) == (13, 3, 13 * 64)
    assert (more.batches.values, more.batches.total) == (2, 13)


def test_open_requests_and_reasons(counters: ModelCounters) -> None:
    for _ in range(4):
        counters.arrived()
    counters.failed("REJECTED", 0.0)
    counters.failed("CANCELED", 0.0)
    counters.loaded(1.5)
    told = counters.snapshot()
    assert (told.open, told.load_s) == (2, 1.5)
    assert told.failures == {"REJECTED": 1, "CANCELED": 1, "BACKEND": 0, "OTHER": 0}


def test_readings_agree_while_threads_count(counters: ModelCounters) -> None:
    """`Counters` refuses numbers that do not agree: a lock too few would raise here."""

    def count(number: int) -> None:
        counters.arrived()
        counters.batch(2, 1, 4, 0.1, 0.1, 0.1)
        counters.succeeded(TIMES, 0.01)
        model_statistics("m", 1, counters.reading())

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(500)))
    told = counters.snapshot()
    assert (told.counters.success.count, told.counters.executions, told.tiles, told.open) == (500, 500, 500, 0)
