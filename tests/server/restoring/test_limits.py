"""What a server's settings come to."""

from __future__ import annotations

import pytest

from lqhq.server.config.serve_config import ServeConfig
from lqhq.server.restoring.limits import batching_of, bounds_of, limits_of


def config(**fields) -> ServeConfig:
    return ServeConfig(bundles=("demo",), **fields)


def test_memory_is_what_was_given_or_most_of_what_is_free():
    assert limits_of(config(memory=1 << 30)).bytes == 1 << 30
    assert 1 << 20 < limits_of(config()).bytes < 1 << 50


def test_no_wait_is_the_shortest_wait():
    assert limits_of(config(max_wait_s=0.0)).wait_ms == 1.0


@pytest.mark.parametrize("devices", [("cpu",), ("cuda:0", "cuda:1")])
@pytest.mark.parametrize("batch", [1, 32])
def test_one_request_can_fill_every_worker(devices, batch):
    settings = config(devices=devices, max_batch=batch, batch_window_ms=7.0)
    batching, limits = batching_of(settings), limits_of(settings)
    assert limits.workers == len(devices)
    assert batching.window_ms == 7.0
    assert batching.batches_out == 2 * len(devices)
    assert batching.works_per_request >= batching.batches_out * batch
    assert batching.works > batching.works_per_request
    bounds = bounds_of(settings, limits, batching)
    assert (bounds.batches, bounds.batch, bounds.memory) == (batching.batches_out, batch, limits.bytes)
