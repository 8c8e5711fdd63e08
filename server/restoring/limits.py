"""What a server's settings come to: limits of admission, of the batcher, of a plan."""

from __future__ import annotations

from lqhq.runtime.machine import available_memory
from lqhq.server.admission.decision import Limits
from lqhq.server.batching.config import BatchingConfig
from lqhq.server.config.serve_config import ServeConfig
from lqhq.server.restoring.planning import Bounds

__all__ = ["batching_of", "bounds_of", "limits_of"]

MEMORY_SHARE = 0.6  # of what is free at the start; engines, workers' tensors and messages take the rest
MOST_WORKS = 1 << 20  # of all requests: a work that waits is small, but a typo in a tile's side makes billions
AHEAD = 2  # batches of a worker: one runs, one lies ready


def limits_of(config: ServeConfig) -> Limits:
    """Of all accepted requests. Asks for the machine's free memory where the settings name none."""
    memory = int(available_memory() * MEMORY_SHARE) if config.memory is None else config.memory
    return Limits(
        requests=config.max_requests,
        works=MOST_WORKS,
        bytes=max(1, memory),
        wait_ms=max(1.0, config.max_wait_s * 1e3),
        workers=len(config.devices),
    )


def batching_of(config: ServeConfig) -> BatchingConfig:
    """For the dispatcher: enough works of one request to keep every worker in full batches."""
    usual, workers = BatchingConfig(), len(config.devices)
    each = max(AHEAD * config.batch * workers, usual.works_per_request)
    return BatchingConfig(
        window_ms=config.batch_window_ms,
        batches_out=AHEAD * workers,
        works_per_request=each,
        works=max(usual.works, 4 * each),
    )


def bounds_of(config: ServeConfig, limits: Limits, batching: BatchingConfig) -> Bounds:
    """What one request may be."""
    return Bounds(
        max_pixels=config.max_pixels,
        max_result_pixels=config.max_result_pixels,
        memory=limits.bytes,
        batches=batching.batches_out,
        batch=config.batch,
    )
