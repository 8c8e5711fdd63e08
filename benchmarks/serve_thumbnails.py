"""Thumbnails alone, and while a scan of 64 output megapixels is restored: how long the slowest of 100 waits.

    python benchmarks/serve_thumbnails.py [--quick] [--bundle B] [--rounds N] [-o FILE]

Poisson arrivals, each from a connection of its own; the scan goes by `RestoreStream` as one PNG file.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import grpc
from measuring.interval import median_interval
from measuring.report import Page, arguments, weights_line
from measuring.scene import scene
from serving.bare_loop import encoded_scene
from serving.callers import tensor_request
from serving.load import closed_loop, open_loop, poisson_arrivals
from serving.quantile import quantile, quantile_interval
from serving.scan import Scan
from serving.services import MODEL, Service, Variant, lqhq_service

from lqhq.runtime import open_bundle
from lqhq.runtime.machine import cpu_count
from lqhq.server.protos.inference_pb2 import ModelStatisticsRequest, ModelStatisticsResponse

SEED = 20_261_202
SHARE = 0.99
SLACK_MS = 20.0  # bar: p99 beside the scan - p99 alone - one batch of the scan
MS = 1e3
CONNECTIONS = 16
STATISTICS = "/inference.GRPCInferenceService/ModelStatistics"
COLUMNS = ("thumbnails", "count", "p50 ms", "p95 ms", "p99 ms, with interval", "slowest ms")


class Sizes(NamedTuple):
    """Sides of a thumbnail and of the scan, thumbnails a second, seconds of a stretch, rounds, calls to warm up."""

    thumbnail: int
    scan: int
    rate: float
    stretch_s: float
    rounds: int
    warm: int


QUICK = Sizes(16, 560, 4.0, 0.5, 2, 4)
FULL = Sizes(64, 2000, 2.0, 5.0, 8, 40)


class Found(NamedTuple):
    """Latencies in seconds alone and beside the scan; seconds of the scan alone, of each beside, and of its batches."""

    alone: list[float]
    beside: list[float]
    scan_alone: float
    scans: list[float]
    batch_s: float
    batches: int


def batch_seconds(address: str) -> tuple[int, float]:
    """How many batches the model has run, and the seconds of the network in all of them."""
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            STATISTICS,
            request_serializer=ModelStatisticsRequest.SerializeToString,
            response_deserializer=ModelStatisticsResponse.FromString,
        )
        [stats] = call(ModelStatisticsRequest(name=MODEL)).model_stats
    spent = [batch.compute_infer for batch in stats.batch_stats]
    return sum(one.count for one in spent), sum(one.ns for one in spent) / 1e9


def stretch(service: Service, sizes: Sizes, seed: int) -> list[float]:
    """Latencies of the thumbnails that arrive within one stretch."""
    count = max(1, round(sizes.rate * sizes.stretch_s))
    arrivals = poisson_arrivals(sizes.rate, count, seed)
    return open_loop(service.connect, [0] * count, arrivals, CONNECTIONS).latencies


def measured(service: Service, address: str, sizes: Sizes) -> Found:
    """The scan alone; then, in turns, thumbnails beside a scan, and as many alone."""
    file = encoded_scene(sizes.scan)
    closed_loop(service.connect, [0] * sizes.warm, 2)
    with Scan(address, MODEL, file) as warming:
        warming.wait()
    before = batch_seconds(address)
    with Scan(address, MODEL, file) as scan:
        scan.wait()
    after = batch_seconds(address)
    batches = after[0] - before[0]
    alone, beside, scans = list[float](), list[float](), list[float]()
    for at in range(sizes.rounds):
        print(f"round {at + 1} of {sizes.rounds}", file=sys.stderr, flush=True)
        stretches = 0
        with Scan(address, MODEL, file) as loaded:
            while loaded.running:
                found = stretch(service, sizes, SEED + 1000 * at + stretches)
                if loaded.running or not stretches:  # in the last one some came after the scan
                    beside += found
                stretches += 1
            scans.append(loaded.seconds)
        for number in range(max(1, stretches - 1)):
            alone += stretch(service, sizes, SEED + 1000 * at + number)
    return Found(alone, beside, scan.seconds, scans, (after[1] - before[1]) / batches, batches)


def row(name: str, latencies: Sequence[float]) -> tuple[object, ...]:
    in_ms = [latency * MS for latency in latencies]
    p50, p95 = (f"{quantile(in_ms, share):.1f}" for share in (0.5, 0.95))
    far = quantile_interval(in_ms, SHARE)
    return name, len(in_ms), p50, p95, f"{far.median:.0f} [{far.low:.0f}, {far.high:.0f}]", f"{max(in_ms):.0f}"


def verdict(found: Found) -> str:
    """The bar in words."""
    alone, beside = (quantile(latencies, SHARE) * MS for latencies in (found.alone, found.beside))
    bound = alone + found.batch_s * MS + SLACK_MS
    met = "met" if beside <= bound else "NOT met"
    return (
        f"One batch of the scan takes {found.batch_s * MS:.0f} ms (mean of {found.batches}, the scan alone, from "
        f"ModelStatistics). The bar is p99 alone + one batch + {SLACK_MS:g} ms = {bound:.0f} ms; p99 beside the scan "
        f"is {beside:.0f} ms: {met}."
    )


def main() -> None:
    """Start a server, measure, write the page."""
    parser = arguments(__doc__, "serve_thumbnails")
    parser.add_argument("--rounds", type=int, metavar="N", help="of beside and alone (default: 8)")
    args, threads = parser.parse_args(), cpu_count()
    sizes = QUICK if args.quick else FULL
    sizes = sizes._replace(rounds=args.rounds or sizes.rounds)
    variant = Variant(form="tensor", workers=1, threads=threads)
    requests = [tensor_request(MODEL, scene(sizes.thumbnail, sizes.thumbnail))]
    with (
        tempfile.TemporaryDirectory() as name,
        lqhq_service(Path(name), open_bundle(args.bundle).folder, requests, variant) as service,
    ):
        found = measured(service, service.address, sizes)
    packages = ("onnxruntime", "grpcio", "numpy")
    page = Page("Thumbnails beside a scan", weights=weights_line(args.bundle), packages=packages)
    page.text(
        f"{threads} cores, shared by server and clients. Thumbnails of {sizes.thumbnail}x{sizes.thumbnail} pixels as "
        f"V2 tensors, {sizes.rate:g} a second, Poisson; latency counts from the arrival. The scan is {sizes.scan}x"
        f"{sizes.scan} pixels, a PNG file to a PNG file, through `RestoreStream`. Thumbnails arrive from its first "
        f"tile to its last byte, so its encoding is in it, too. {sizes.rounds} rounds of beside and alone, the same "
        "arrivals, all priorities at their default; the interval of p99 covers the true one with at least 95 % where "
        "there are enough thumbnails (some 370)."
    )
    page.table("Latency", COLUMNS, [row("alone", found.alone), row("beside the scan", found.beside)])
    page.text(verdict(found))
    slowed = median_interval([seconds / found.scan_alone for seconds in found.scans])
    page.text(f"The scan alone takes {found.scan_alone:.1f} s; beside thumbnails {slowed} times as long.")
    page.write(args.output)


if __name__ == "__main__":
    main()
