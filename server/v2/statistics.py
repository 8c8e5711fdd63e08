"""Counters of a model into the ModelStatistics message.

Load generators subtract two of these and expect them to agree: every request that succeeded counts once in queue,
compute_input, compute_infer and compute_output. `Counters` is a reading taken at one moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lqhq.server.protos.inference_pb2 import (
    InferBatchStatistics,
    InferStatistics,
    MemoryUsage,
    ModelStatistics,
    StatisticDuration,
)

__all__ = ["BatchCounters", "Counters", "Duration", "model_statistics"]


@dataclass(frozen=True, slots=True)
class Duration:
    """How often something was done, and the nanoseconds it took in all."""

    count: int = 0
    ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCounters:
    """Batches of one size: copying tiles in, the network, copying out. All three have one count."""

    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Of one version of a model, since it was loaded.

    `success`, `fail`: requests, from their arrival to their reply. `queue`: from arrival to the first tile's batch.
    `compute_input`: decoding; `compute_infer`: from the first batch to the last; `compute_output`: encoding.
    `images` counts the images restored, `executions` the batches of tiles run, `batches` those by size in tiles.
    `memory_bytes`: by kind ("CPU", "GPU") and number of the device. `last_ms`: the last request's arrival, milliseconds
    since the epoch, 0 where there was none.
    """

    success: Duration = Duration()
    fail: Duration = Duration()
    queue: Duration = Duration()
    compute_input: Duration = Duration()
    compute_infer: Duration = Duration()
    compute_output: Duration = Duration()
    images: int = 0
    executions: int = 0
    last_ms: int = 0
    batches: Mapping[int, BatchCounters] = field(default_factory=dict)
    memory_bytes: Mapping[tuple[str, int], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counts = {one.count for one in (self.queue, self.compute_input, self.compute_infer, self.compute_output)}
        if counts != {self.success.count}:
            raise ValueError(f"{self}: every success counts once in queue and compute, or clients refuse the numbers")


def model_statistics(name: str, version: int, counters: Counters) -> ModelStatistics:
    """The message of one model; there is no response cache, so its counts are 0."""
    return ModelStatistics(
        name=name,
        version=str(version),
        last_inference=counters.last_ms,
        inference_count=counters.images,
        execution_count=counters.executions,
        inference_stats=InferStatistics(
            success=_duration(counters.success),
            fail=_duration(counters.fail),
            queue=_duration(counters.queue),
            compute_input=_duration(counters.compute_input),
            compute_infer=_duration(counters.compute_infer),
            compute_output=_duration(counters.compute_output),
            cache_hit=StatisticDuration(),
            cache_miss=StatisticDuration(),
        ),
        batch_stats=[
            InferBatchStatistics(
                batch_size=size,
                compute_input=_duration(batch.compute_input),
                compute_infer=_duration(batch.compute_infer),
                compute_output=_duration(batch.compute_output),
            )
            for size, batch in sorted(counters.batches.items())
        ],
        memory_usage=[
            MemoryUsage(type=kind, id=number, byte_size=size)
            for (kind, number), size in sorted(counters.memory_bytes.items())
        ],
    )


def _duration(duration: Duration) -> StatisticDuration:
    return StatisticDuration(count=duration.count, ns=duration.ns)
