"""All that the server counts, in one place, and the page that tells it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Literal

from lqhq.server.batching.batch_key import BatchKey
from lqhq.server.metrics.exposition import Family, exposition
from lqhq.server.metrics.machine_load import MachineLoad
from lqhq.server.metrics.model_counters import ModelCounters
from lqhq.server.metrics.model_families import model_families

__all__ = ["GAUGES", "REFUSALS", "Gauge", "Metrics", "Refusal"]

Refusal = Literal["busy", "too_large", "too_late", "not_ready", "draining"]
REFUSALS: dict[Refusal, str] = {
    "busy": "no room now",
    "too_large": "it never fits",
    "too_late": "its deadline cannot be met even alone",
    "not_ready": "the model is not there",
    "draining": "the server ends",
}
Gauge = Literal["queued_works", "reserved_bytes", "budget_bytes", "accepted_requests"]
GAUGES: dict[Gauge, str] = {
    "queued_works": "Network calls that are asked for and not begun",
    "reserved_bytes": "Memory reserved for requests that were let in",
    "budget_bytes": "Memory that all requests together may reserve",
    "accepted_requests": "Requests that were let in and not answered",
}


class Metrics:
    """Safe to call from any thread; an `Observer` of the dispatcher as well. Values are labels of bounded sets only."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._models: dict[tuple[str, int], ModelCounters] = {}
        self._gauges: dict[Gauge, Callable[[], float]] = {}
        self._refused: dict[Refusal, int] = dict.fromkeys(REFUSALS, 0)
        self._rpcs: dict[tuple[str, str], int] = {}
        self._open_rpcs = 0
        self._workers: dict[str, tuple[bool, int]] = {}  # by name: alive, how often lost
        self._load = MachineLoad()

    def model(self, name: str, version: int) -> ModelCounters:
        """The counters of a model; the same ones until it is forgotten."""
        with self._lock:
            return self._models.setdefault((name, version), ModelCounters())

    def forget(self, name: str, version: int) -> None:
        """It is unloaded; its series end."""
        with self._lock:
            self._models.pop((name, version), None)

    def measure(self, gauge: Gauge, read: Callable[[], float]) -> None:
        """`read` is called for each page, on a thread of its own: it looks at one number."""
        if gauge not in GAUGES:
            raise ValueError(f"gauge: found {gauge!r}; expected one of {', '.join(GAUGES)}")
        with self._lock:
            self._gauges[gauge] = read

    def refused(self, reason: Refusal) -> None:
        """A request was not let in."""
        with self._lock:
            self._refused[reason] += 1

    def rpc_began(self) -> None:
        """A call came that has a handler."""
        with self._lock:
            self._open_rpcs += 1

    def rpc_ended(self, method: str, code: str) -> None:
        """It ended; `method` as in `/package.Service/Method`, `code` as in `NOT_FOUND`."""
        with self._lock:
            self._open_rpcs -= 1
            self._rpcs[method, code] = self._rpcs.get((method, code), 0) + 1

    def batch(self, key: BatchKey, size: int, works: int, in_ms: float, run_ms: float, out_ms: float) -> None:
        """The dispatcher ran a batch; of a model that is no longer known it counts nowhere."""
        name, version = key.model.bundle, key.model.version.partition(".")[0]
        with self._lock:
            counters = self._models.get((name, int(version)))
        if counters is not None:
            counters.batch(size, works, works * key.pixels, in_ms, run_ms, out_ms)

    def worker_lost(self, worker: str, reason: str) -> None:
        """A worker process ended unasked; `reason` is for the log."""
        with self._lock:
            self._workers[worker] = False, self._workers.get(worker, (False, 0))[1] + 1

    def worker_ready(self, worker: str) -> None:
        """A worker process takes batches."""
        with self._lock:
            self._workers[worker] = True, self._workers.get(worker, (False, 0))[1]

    def page(self) -> bytes:
        """Everything, in Prometheus' text format. For one thread at a time."""
        with self._lock:
            models, gauges = dict(self._models), dict(self._gauges)
            own = self._server_families()
        told = [Family(f"lqhq_{name}", "gauge", about) for name, about in GAUGES.items()]
        for family, name in zip(told, GAUGES, strict=True):
            if name in gauges:
                family.add(gauges[name]())
        snapshots = {key: counters.snapshot() for key, counters in sorted(models.items())}
        return exposition([*model_families(snapshots), *told, *own, *self._load.families()])

    def _server_families(self) -> list[Family]:
        refused = Family("lqhq_refused_total", "counter", "Requests not let in: " + "; ".join(
            f"{reason}, {about}" for reason, about in REFUSALS.items()
        ))  # fmt: skip
        for reason, count in self._refused.items():
            refused.add(count, {"reason": reason})
        rpcs = Family("lqhq_rpcs_total", "counter", "Calls that ended, by method and gRPC status")
        for (method, code), count in sorted(self._rpcs.items()):
            rpcs.add(count, {"method": method, "code": code})
        opened = Family("lqhq_open_rpcs", "gauge", "Calls that run")
        opened.add(self._open_rpcs)
        alive = Family("lqhq_worker_up", "gauge", "1 where the worker takes batches, else 0")
        lost = Family("lqhq_worker_losses_total", "counter", "Worker processes that ended unasked")
        for worker, (up, times) in sorted(self._workers.items()):
            alive.add(int(up), {"worker": worker})
            lost.add(times, {"worker": worker})
        return [refused, rpcs, opened, alive, lost]
