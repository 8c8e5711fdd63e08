"""The page, read with Prometheus' official parser: every number is there, and moves by as much as it should."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lqhq.server.batching.batch_key import BatchKey, Model
from lqhq.server.metrics.metrics import Metrics
from lqhq.server.restoring.ask import Times

LABELS = {"model": "demo", "version": "3"}
KEY = BatchKey(Model("demo", "3.7", "fp32", "onnx"), "denoise", 16, 32)
TRITON = {
    "nv_inference_request_success": "counter",
    "nv_inference_request_failure": "counter",
    "nv_inference_count": "counter",
    "nv_inference_request_duration_us": "counter",
    "nv_inference_queue_duration_us": "counter",
    "nv_inference_compute_input_duration_us": "counter",
    "nv_inference_compute_infer_duration_us": "counter",
    "nv_inference_compute_output_duration_us": "counter",
    "nv_model_load_duration_secs": "gauge",
    "nv_cpu_utilization": "gauge",
    "nv_cpu_memory_total_bytes": "gauge",
    "nv_cpu_memory_used_bytes": "gauge",
}


def read(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    found = {}
    for family in text_string_to_metric_families(metrics.page().decode()):
        for sample in family.samples:
            # The parser gives every counter the suffix that Triton's do not have.
            name = sample.name.removesuffix("_total") if sample.name.startswith("nv_") else sample.name
            key = name, frozenset(sample.labels.items())
            assert key not in found, "a series twice"
            found[key] = sample.value
    return found


def value(metrics: Metrics, name: str, labels: Mapping[str, str]) -> float:
    return read(metrics)[name, frozenset(labels.items())]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def test_names_and_kinds(metrics: Metrics) -> None:
    metrics.model("demo", 3)
    families = {family.name: family.type for family in text_string_to_metric_families(metrics.page().decode())}
    assert families.items() >= TRITON.items()
    assert all(name.startswith(("nv_", "lqhq_")) for name in families)
    assert {name for name in families if name.startswith("nv_")} == set(TRITON)
    assert '\nnv_inference_count{model="demo",version="3"} 0\n' in metrics.page().decode()


def test_a_request_moves_every_counter_by_its_own(metrics: Metrics) -> None:
    counters = metrics.model("demo", 3)
    counters.arrived()
    counters.arrived()
    metrics.batch(KEY, 8, 7, 1.0, 20.0, 3.0)
    counters.succeeded(Times(decode_s=0.01, queue_s=0.02, run_s=0.03, encode_s=0.04), 0.2)
    told = {
        name: value(metrics, name, LABELS) for name in TRITON if name.startswith("nv_inference_") and "fail" not in name
    }
    assert told == {
        "nv_inference_request_success": 1,
        "nv_inference_count": 1,
        "nv_inference_request_duration_us": 200_000,
        "nv_inference_queue_duration_us": 20_000,
        "nv_inference_compute_input_duration_us": 10_000,
        "nv_inference_compute_infer_duration_us": 30_000,
        "nv_inference_compute_output_duration_us": 40_000,
    }
    assert value(metrics, "lqhq_open_requests", LABELS) == 1
    assert value(metrics, "lqhq_batch_tiles_sum", LABELS) == 7
    assert value(metrics, "lqhq_batch_tiles_count", LABELS) == 1
    assert value(metrics, "lqhq_padding_tiles_total", LABELS) == 1
    assert value(metrics, "lqhq_tile_pixels_total", LABELS) == 7 * 16 * 32
    assert value(metrics, "lqhq_batch_run_seconds_total", LABELS) == 0.02
    assert value(metrics, "lqhq_request_seconds_bucket", {**LABELS, "le": "0.25"}) == 1
    assert value(metrics, "lqhq_request_seconds_bucket", {**LABELS, "le": "0.1"}) == 0


def test_failures_by_reason(metrics: Metrics) -> None:
    metrics.model("demo", 3).arrived()
    metrics.model("demo", 3).failed("CANCELED", 1.0)
    for reason, count in {"REJECTED": 0, "CANCELED": 1, "BACKEND": 0, "OTHER": 0}.items():
        assert value(metrics, "nv_inference_request_failure", {**LABELS, "reason": reason}) == count


def test_the_server(metrics: Metrics) -> None:
    metrics.measure("queued_works", lambda: 12)
    metrics.refused("busy")
    metrics.rpc_began()
    metrics.rpc_began()
    metrics.rpc_ended("/t.T/m", "NOT_FOUND")
    for _ in range(2):
        metrics.worker_ready("cuda:0")
        metrics.worker_lost("cuda:0", "killed by signal 9")
    metrics.worker_ready("cuda:1")
    assert value(metrics, "lqhq_queued_works", {}) == 12
    assert value(metrics, "lqhq_refused_total", {"reason": "busy"}) == 1
    assert value(metrics, "lqhq_refused_total", {"reason": "too_late"}) == 0
    assert value(metrics, "lqhq_rpcs_total", {"method": "/t.T/m", "code": "NOT_FOUND"}) == 1
    assert value(metrics, "lqhq_open_rpcs", {}) == 1
    assert value(metrics, "lqhq_worker_up", {"worker": "cuda:0"}) == 0
    assert value(metrics, "lqhq_worker_up", {"worker": "cuda:1"}) == 1
    assert value(metrics, "lqhq_worker_losses_total", {"worker": "cuda:0"}) == 2
    assert value(metrics, "lqhq_worker_losses_total", {"worker": "cuda:1"}) == 0
    assert ("lqhq_reserved_bytes", frozenset()) not in read(metrics)  # nobody said how to read it


def test_unknown_names_are_refused(metrics: Metrics) -> None:
    with pytest.raises(ValueError, match="queued_works"):
        metrics.measure("else", lambda: 1)  # type: ignore[arg-type]
    with pytest.raises(KeyError):
        metrics.refused("else")  # type: ignore[arg-type]


def test_models_that_went_leave_no_series(metrics: Metrics) -> None:
    metrics.model("demo", 3)
    metrics.forget("demo", 3)
    metrics.forget("demo", 3)
    metrics.batch(KEY, 8, 7, 1.0, 20.0, 3.0)  # the last of it may come late
    assert not [name for name, labels in read(metrics) if dict(labels).get("model")]


def test_the_same_counters_until_then(metrics: Metrics) -> None:
    assert metrics.model("demo", 3) is metrics.model("demo", 3)
    assert metrics.model("demo", 3) is not metrics.model("demo", 4)


def test_pages_while_threads_count(metrics: Metrics) -> None:
    def count(number: int) -> None:
        metrics.model("demo", number).arrived()
        metrics.rpc_began()
        metrics.rpc_ended(f"/t.T/{number}", "OK")

    with ThreadPoolExecutor(4) as pool:
        counted = pool.map(count, range(40))
        for _ in range(3):
            read(metrics)
        list(counted)
    assert value(metrics, "lqhq_open_rpcs", {}) == 0
