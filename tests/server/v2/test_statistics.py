"""Counters become the message field by field, and counts that do not agree are refused."""

from __future__ import annotations

import pytest
from tritonclient.grpc import service_pb2

from lqhq.server.v2.statistics import BatchCounters, Counters, Duration, model_statistics

COUNTERS = Counters(
    success=Duration(3, 900),
    fail=Duration(1, 10),
    queue=Duration(3, 20),
    compute_input=Duration(3, 30),
    compute_infer=Duration(3, 400),
    compute_output=Duration(3, 50),
    images=3,
    executions=5,
    last_ms=1234,
    batches={
        8: BatchCounters(compute_input=Duration(1, 1), compute_infer=Duration(1, 2), compute_output=Duration(1, 3)),
        1: BatchCounters(compute_input=Duration(4, 4), compute_infer=Duration(4, 5), compute_output=Duration(4, 6)),
    },
    memory_bytes={("GPU", 0): 5000, ("CPU", 0): 70},
)


def test_every_counter_is_told() -> None:
    ours = model_statistics("photos", 2, COUNTERS)
    got = service_pb2.ModelStatistics.FromString(ours.SerializeToString())
    assert (got.name, got.version, got.last_inference) == ("photos", "2", 1234)
    assert (got.inference_count, got.execution_count) == (3, 5)
    stats = got.inference_stats
    told = {field.name: (value.count, value.ns) for field, value in stats.ListFields()}
    assert told == {
        "success": (3, 900),
        "fail": (1, 10),
        "queue": (3, 20),
        "compute_input": (3, 30),
        "compute_infer": (3, 400),
        "compute_output": (3, 50),
        "cache_hit": (0, 0),
        "cache_miss": (0, 0),
    }
    batches = [(b.batch_size, b.compute_input.ns, b.compute_infer.ns, b.compute_output.ns) for b in got.batch_stats]
    assert batches == [(1, 4, 5, 6), (8, 1, 2, 3)]
    assert [(m.type, m.id, m.byte_size) for m in got.memory_usage] == [("CPU", 0, 70), ("GPU", 0, 5000)]


def test_a_model_that_did_nothing() -> None:
    assert model_statistics("m", 1, Counters()).inference_stats.success.count == 0


def test_counts_that_do_not_agree_are_refused() -> None:
    with pytest.raises(ValueError, match="counts once"):
        Counters(success=Duration(2, 5), queue=Duration(1, 5))
