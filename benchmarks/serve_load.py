"""`lqhq serve` under load: against a bare loop, and against MLServer and LitServe with the same ONNX file.

    python benchmarks/serve_load.py [--quick] [--peers-venv DIR] [--no-peers] [--rounds N] [-o FILE]

Real sockets; every server and the bare loop are processes of their own, warm, and take turns.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from contenders.identity_bundle import write_identity
from measuring.report import Page, arguments, weights_line
from serving.bare_loop import BareLoop, encoded_scene
from serving.bench import BARE, LQHQ, Bench, headings, row
from serving.callers import restore_request
from serving.load import Sample, closed_loop, open_loop, poisson_arrivals
from serving.peers import PACKAGES, make_environments
from serving.services import MODEL, Service, Variant, lqhq_service
from serving.turns import added_ms, take_turns, throughput_ratio

from lqhq.runtime import open_bundle
from lqhq.runtime.machine import cpu_count

SEED = 20_261_130
ADDED_MS, OF_BARE, OF_BEST = 5.0, 0.95, 0.97  # bars
BUSY = 0.7  # of the bare loop's throughput: the rate of the open loop
ADDED, RATIO = "added p50 over the bare loop, ms", "throughput / the bare loop's"


class Sizes(NamedTuple):
    """How much is measured: side of the one-size images, sides of the mixed ones, counts of a turn, rounds."""

    side: int
    mixed: tuple[int, ...]
    clients: int
    alone: int
    identity: int
    saturated: int
    mixed_count: int
    arrivals: int
    rounds: int
    trial: int


QUICK = Sizes(24, (16, 24, 40), 2, 3, 6, 4, 4, 4, 2, 4)
FULL = Sizes(128, (64, 96, 128, 192, 256), 8, 15, 150, 40, 24, 40, 11, 48)


def closed_case(
    bench: Bench, sizes: Sizes, bundle: str, services: Sequence[Service], clients: int, count: int
) -> dict[str, list[Sample]]:
    """Every server and the bare loop in a closed loop."""
    with BareLoop(str(bench.bundles[bundle]), bench.threads, "pixels", [sizes.side]) as bare:
        turns: dict[str, Callable[[], Sample]] = {BARE: lambda: bare.run([0] * count)}
        for service in services:
            turns[service.name] = partial(closed_loop, service.connect, [0] * count, clients)
        return take_turns(turns, sizes.rounds)


def open_case(services: Sequence[Service], sizes: Sizes, rate: float) -> dict[str, list[Sample]]:
    """Every server is given the same arrivals."""
    arrivals = poisson_arrivals(rate, sizes.arrivals, SEED)
    order = [0] * sizes.arrivals
    turns = {
        service.name: partial(open_loop, service.connect, order, arrivals, 4 * sizes.clients) for service in services
    }
    return take_turns(turns, sizes.rounds)


def identity_tables(page: Page, bench: Bench, sizes: Sizes) -> None:
    """What the servers alone add; MLServer also as its guide shows it first, with a tensor and one worker."""
    chosen, tried = bench.tuned("identity", 1)
    plain = [("mlserver", Variant(form="tensor", workers=1, threads=bench.threads))] if bench.peers else []
    with bench.started("identity", [*chosen, *plain]) as services:
        alone = closed_case(bench, sizes, "identity", services, 1, sizes.identity)
        rows = [row(None, alone[BARE], "0")]
        rows += [row(one, alone[one.name], added_ms(alone[one.name], alone[BARE])) for one in services]
        title = f"Identity, {sizes.side}x{sizes.side}"
        page.table(f"{title}, one client", headings(ADDED), rows)
        page.text(" ".join([*latency_verdict(alone), tried]))
        raced = services[: len(chosen)]
        many = closed_case(bench, sizes, "identity", raced, sizes.clients, sizes.identity)
        rows = [row(one, many[one.name], throughput_ratio(many[one.name], many[LQHQ])) for one in raced]
        page.table(f"{title}, {sizes.clients} clients", headings("throughput / lqhq's"), rows)


def latency_verdict(found: Mapping[str, Sequence[Sample]]) -> list[str]:
    """lqhq's added latency against each peer's, which is what differs: the bare loop is the same for all."""
    said = list[str]()
    for name in found:
        if name not in (LQHQ, BARE):
            less = added_ms(found[LQHQ], found[name])
            met = "met" if less.high < 0 else "not met"
            said.append(f"lqhq's p50 less {name}'s is {less} ms; the bar is an upper end below 0: {met}.")
    return said


def demo_tables(page: Page, bench: Bench, sizes: Sizes) -> None:
    """The demo network: one client, saturated, and arrivals that wait for nobody."""
    size = f"{sizes.side}x{sizes.side}"
    chosen, tried = bench.tuned("demo", 1)
    with bench.started("demo", chosen) as services:
        alone = closed_case(bench, sizes, "demo", services, 1, sizes.alone)
        rows = [row(None, alone[BARE], "0")]
        rows += [row(one, alone[one.name], added_ms(alone[one.name], alone[BARE])) for one in services]
        page.table(f"Demo, {size}, one client", headings(ADDED), rows)
        page.text(f"{added_verdict(alone)} {tried}")
    chosen, tried = bench.tuned("demo", sizes.clients)
    with bench.started("demo", chosen) as services:
        many = closed_case(bench, sizes, "demo", services, sizes.clients, sizes.saturated)
        rows = [row(None, many[BARE], "1")]
        rows += [row(one, many[one.name], throughput_ratio(many[one.name], many[BARE])) for one in services]
        page.table(f"Demo, {size}, {sizes.clients} clients, saturated", headings(RATIO), rows)
        page.text(" ".join([*saturated_verdict(many), tried]))
        rate = BUSY * sum(len(s.latencies) for s in many[BARE]) / sum(s.seconds for s in many[BARE])
        arrived = open_case(services, sizes, rate)
        rows = [row(one, arrived[one.name], added_ms(arrived[one.name], arrived[LQHQ], 0.95)) for one in services]
        title = f"Demo, {size}, Poisson arrivals, {rate:.1f} a second ({BUSY:.0%} of the bare loop's)"
        page.table(title, headings("p95 less lqhq's, ms"), rows)


def added_verdict(found: Mapping[str, Sequence[Sample]]) -> str:
    added = added_ms(found[LQHQ], found[BARE])
    met = "met" if added.high < ADDED_MS else "not met"
    return f"lqhq adds {added} ms; the bar is an upper end below {ADDED_MS:g} ms: {met}."


def saturated_verdict(found: Mapping[str, Sequence[Sample]]) -> list[str]:
    """lqhq's throughput against the bare loop's, and against each peer's."""
    said = list[str]()
    for name in found:
        if name != LQHQ:
            ratio, bar = throughput_ratio(found[LQHQ], found[name]), OF_BARE if name == BARE else OF_BEST
            met = "met" if ratio.low >= bar else "not met"
            said.append(f"lqhq does {ratio} times what {name} does; the bar is a lower end of {bar} or more: {met}.")
    return said


def mixed_table(page: Page, bench: Bench, sizes: Sizes) -> None:
    """Files of several sizes through lqhq.v1, against a bare loop that decodes and encodes them too."""
    order = [int(one) for one in np.random.default_rng(SEED).integers(0, len(sizes.mixed), sizes.mixed_count)]
    requests = [restore_request(MODEL, encoded_scene(side)) for side in sizes.mixed]
    clients, path = max(2, sizes.clients // 2), bench.bundles["demo"]
    variant = Variant(form="file", workers=1, threads=bench.threads)
    with (
        lqhq_service(bench.folder, path, requests, variant) as service,
        BareLoop(str(path), bench.threads, "files", sizes.mixed) as bare,
    ):
        turns = {BARE: lambda: bare.run(order), LQHQ: lambda: closed_loop(service.connect, order, clients)}
        for turn in turns.values():  # every size warm
            turn()
        found = take_turns(turns, sizes.rounds)
        ratio = throughput_ratio(found[LQHQ], found[BARE])
        rows = [row(None, found[BARE], "1"), row(service, found[LQHQ], ratio)]
    sides = ", ".join(map(str, sizes.mixed))
    page.table(f"Demo, PNG files of {sides} pixels a side, {clients} clients", headings(RATIO), rows)
    page.text(f"PNG in, PNG out: the bare loop decodes and encodes as well. lqhq does {ratio} times what it does.")


def main() -> None:
    """Start, tune, measure, write the page."""
    parser = arguments(__doc__, "serve")
    parser.add_argument("--peers-venv", type=Path, metavar="DIR", help="keep the peers' environments here, or use them")
    parser.add_argument(
        "--peers", action=argparse.BooleanOptionalAction, default=True, help="race MLServer and LitServe, too"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="turns of each (default: 11)")
    args, threads = parser.parse_args(), cpu_count()
    packages = ("onnxruntime", "grpcio", "numpy")
    page = Page("lqhq serve under load", weights=weights_line(args.bundle), packages=packages)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peers = make_environments((args.peers_venv or folder / "venvs").absolute()) if args.peers else {}
        bundles = {"identity": write_identity(folder / "identity"), "demo": open_bundle(args.bundle).folder}
        sizes = QUICK if args.quick else FULL
        sizes = sizes._replace(rounds=args.rounds or sizes.rounds)
        bench = Bench(folder, bundles, peers, sizes.side, sizes.clients, sizes.trial, threads)
        page.text(introduction(sizes, threads))
        for tables in (identity_tables, demo_tables, mixed_table):
            print(tables.__name__, file=sys.stderr, flush=True)
            tables(page, bench, sizes)
    page.write(args.output)


def introduction(sizes: Sizes, threads: int) -> str:
    """How it was measured."""
    named = ", ".join(package for packages in PACKAGES.values() for package in packages)
    return (
        f"{threads} cores, shared by server and clients; every server and the bare loop in processes of their own, "
        f"all up at once, in turns, {sizes.rounds} rounds. The bare loop is `Restorer.restore` in one process with "
        f"{threads} threads, on pixels in memory unless the table says files. Differences and ratios are medians "
        "over rounds of those within a round, with an interval that covers the median with at least 95 % (below six "
        "rounds it is the range); p50, p95 and p99 are of all rounds together. Each client has a connection of its "
        "own; messages are made beforehand, and replies are not taken apart. All servers answered the same image "
        "with the same pixels (to one level, lqhq to the byte) before anything was measured. In an open loop latency "
        f"counts from the arrival. Peers: {named}, with lqhq's version of ONNX Runtime, the same graph, and the steps "
        "around it in NumPy. Each server was tried in several forms before, and the best is measured."
    )


if __name__ == "__main__":
    main()
