"""What a comparison of servers shares: how each is started, tuned, checked and warmed, and the lines of its tables."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from measuring.scene import scene
from numpy.typing import NDArray

from lqhq.runtime import Restorer
from serving.callers import tensor_request
from serving.load import Sample, closed_loop
from serving.peers import PACKAGES, variants_of
from serving.services import MODEL, Service, Variant, litserve_service, lqhq_service, mlserver_service
from serving.trial import best_variant
from serving.turns import latency_columns

__all__ = ["BARE", "LQHQ", "Bench", "Chosen", "check_answer", "headings", "row"]

LQHQ, BARE = "lqhq", "bare loop"
APART = 1  # 8-bit levels between servers: a value between two is rounded either way
COLUMNS = ("server", "p50 ms", "p95 ms", "p99 ms", "images a second", "memory MB", "ran as")

Chosen = tuple[str, Variant]


class Bench(NamedTuple):
    """A folder for logs, folders of the bundles, environments of the peers (none: no peers), and what is asked.

    Images are `side` x `side`; `clients` warm servers up; `trial` requests find the best variant; `threads` are cores.
    """

    folder: Path
    bundles: Mapping[str, Path]
    peers: Mapping[str, Path]
    side: int
    clients: int
    trial: int
    threads: int

    @property
    def servers(self) -> list[str]:
        """lqhq first."""
        return [LQHQ, *self.peers]

    @contextmanager
    def start(self, name: str, bundle: str, variant: Variant) -> Iterator[Service]:
        """One server with one model, in a folder of its own."""
        folder, path = Path(tempfile.mkdtemp(dir=self.folder)), self.bundles[bundle]
        if name == LQHQ:
            requests = [tensor_request(MODEL, scene(self.side, self.side))]
            service = lqhq_service(folder, path, requests, variant)
        else:
            make = {"mlserver": mlserver_service, "litserve": litserve_service}[name]
            service = make(self.peers[name], folder, path, self.side, variant)
        with service as running:
            yield running

    def tuned(self, bundle: str, clients: int) -> tuple[list[Chosen], str]:
        """The best variant of every server for a bundle and a number of clients, and what was tried."""
        chosen, words = list[Chosen](), list[str]()
        for name in self.servers:
            found, tried = best_variant(
                lambda variant, name=name: self.start(name, bundle, variant),
                variants_of(name, self.threads),
                clients=clients,
                count=self.trial,
            )
            chosen.append((name, found))
            words.append(f"{PACKAGES[name][0] if name in PACKAGES else name}: {tried}.")
        return chosen, "Tried: " + " ".join(words)

    @contextmanager
    def started(self, bundle: str, chosen: Sequence[Chosen]) -> Iterator[list[Service]]:
        """All of them up: each has answered, with the pixels of `Restorer.restore`, and is warm."""
        with Restorer.open(self.bundles[bundle], threads=self.threads) as restorer:
            expected = restorer.restore(scene(self.side, self.side))
        with ExitStack() as stack:
            services = [stack.enter_context(self.start(name, bundle, variant)) for name, variant in chosen]
            for service in services:
                check_answer(service, expected, apart=0 if service.name == LQHQ else APART)
                closed_loop(service.connect, [0] * self.clients * 2, self.clients)
            yield services


def check_answer(service: Service, expected: NDArray[Any], *, apart: int) -> None:
    """Raises `SystemExit` where the server's pixels are more than `apart` levels off."""
    caller = service.connect()
    answer = np.frombuffer(service.image_of(caller.call(0)), np.uint8)
    caller.close()
    if answer.size != expected.size:
        raise SystemExit(f"{service.name}: {answer.size} values; expected {expected.size}")
    most = int(np.abs(answer.astype(int) - expected.reshape(-1)).max())
    if most > apart:
        raise SystemExit(f"{service.name}: pixels are {most} levels off; expected {apart} or less")


def headings(compared: str) -> tuple[str, ...]:
    """Of a table whose lines are `row`'s."""
    return (*COLUMNS[:5], compared, *COLUMNS[5:])


def row(service: Service | None, samples: Sequence[Sample], compared: object) -> tuple[object, ...]:
    """One line; without a service it is the bare loop's."""
    rate = sum(len(sample.latencies) for sample in samples) / sum(sample.seconds for sample in samples)
    memory = f"{service.process.memory() / 1e6:.0f}" if service else "-"
    note = service.note if service else "Restorer.restore, one after the other"
    name = service.name if service else BARE
    return (name, *latency_columns(samples), f"{rate:.1f}", compared, memory, note)
