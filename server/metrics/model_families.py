"""The families that are about models, from their snapshots.

A name of Triton's is used where the number means what it means there. `nv_inference_exec_count` is not among them: the
quotient of it and `nv_inference_count` is the mean batch there, and here a request is many tiles; see the `lqhq_` ones.
"""

from __future__ import annotations

from collections.abc import Mapping

from lqhq.server.metrics.exposition import Family
from lqhq.server.metrics.model_counters import Snapshot

__all__ = ["model_families"]


def model_families(models: Mapping[tuple[str, int], Snapshot]) -> list[Family]:
    """By (name, version)."""
    return [*_triton(models), *_ours(models)]


def _triton(models: Mapping[tuple[str, int], Snapshot]) -> list[Family]:
    success = Family("nv_inference_request_success", "counter", "Requests answered with a result")
    failure = Family("nv_inference_request_failure", "counter", "Requests that ended without one, by reason")
    count = Family("nv_inference_count", "counter", "Images restored")
    stages = {
        "success": Family("nv_inference_request_duration_us", "counter", "From arrival to answer, of successes"),
        "queue": Family("nv_inference_queue_duration_us", "counter", "Waiting for the first network call"),
        "compute_input": Family("nv_inference_compute_input_duration_us", "counter", "Decoding images"),
        "compute_infer": Family("nv_inference_compute_infer_duration_us", "counter", "From first call to pixels"),
        "compute_output": Family("nv_inference_compute_output_duration_us", "counter", "Encoding results"),
    }
    load = Family("nv_model_load_duration_secs", "gauge", "Opening and checking the model took, seconds")
    for (name, version), one in models.items():
        labels = {"model": name, "version": str(version)}
        success.add(one.counters.success.count, labels)
        for reason, times in one.failures.items():
            failure.add(times, {**labels, "reason": reason})
        count.add(one.counters.images, labels)
        for stage, family in stages.items():
            family.add(getattr(one.counters, stage).ns // 1000, labels)
        load.add(one.load_s, labels)
    return [success, failure, count, *stages.values(), load]


def _ours(models: Mapping[tuple[str, int], Snapshot]) -> list[Family]:
    opened = Family("lqhq_open_requests", "gauge", "Requests that have arrived and not ended")
    seconds = Family("lqhq_request_seconds", "histogram", "From arrival to answer, of successes")
    sizes = Family("lqhq_batch_tiles", "histogram", "Tiles that shared a network call")
    padding = Family("lqhq_padding_tiles_total", "counter", "Samples added to fill a batch of a fixed size")
    pixels = Family("lqhq_tile_pixels_total", "counter", "Pixels of all tiles run, overlaps included")
    stages = {
        "compute_input": Family("lqhq_batch_in_seconds_total", "counter", "Giving tiles to a worker"),
        "compute_infer": Family("lqhq_batch_run_seconds_total", "counter", "Network calls"),
        "compute_output": Family("lqhq_batch_out_seconds_total", "counter", "Taking tiles back from a worker"),
    }
    for (name, version), one in models.items():
        labels = {"model": name, "version": str(version)}
        opened.add(one.open, labels)
        seconds.add_histogram(one.requests, labels)
        sizes.add_histogram(one.batches, labels)
        padding.add(one.padding, labels)
        pixels.add(one.pixels, labels)
        for stage, family in stages.items():
            family.add(sum(getattr(batch, stage).ns for batch in one.counters.batches.values()) / 1e9, labels)
    return [opened, seconds, sizes, padding, pixels, *stages.values()]
