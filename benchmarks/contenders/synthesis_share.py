"""How much of lqhq's synthesis is not the network, in a process of its own without torch.

python -m contenders.synthesis_share BUNDLE SIDE STEPS THREADS ROUNDS FILE     the times go to FILE
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from measuring.scene import SEED, scene

from contenders.synthesis_lqhq import MEMORY, schedule_name
from lqhq.runtime import Restorer, open_bundle
from lqhq.runtime.bundle_sessions import open_sessions
from lqhq.runtime.engine_spec import Profile
from lqhq.runtime.engines.setup import Setup
from lqhq.runtime.session import Feed, Fetch, Session

__all__ = ["TimedSession", "Times", "timed_rounds"]

WARM_UPS = 2


class Times(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds by round: of the whole call, and of those the network's. `calls` of the network in one round."""

    whole: list[float]
    network: list[float]
    calls: int


class TimedSession:
    """A session that counts its calls and adds up their seconds."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.seconds, self.calls = 0.0, 0

    def run(self, feed: Feed) -> Fetch:
        start = time.perf_counter()
        fetch = self._session.run(feed)
        self.seconds += time.perf_counter() - start
        self.calls += 1
        return fetch

    @property
    def largest(self) -> int | None:
        return self._session.largest

    @property
    def profiles(self) -> tuple[Profile, ...]:
        return self._session.profiles

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def timed_rounds(run: Callable[[], object], sessions: Collection[TimedSession], rounds: int) -> Times:
    """Call `run`, which uses `sessions`, to warm up and then `rounds` times."""
    for _ in range(WARM_UPS):
        run()
    whole, network, calls = list[float](), list[float](), 0
    for _ in range(rounds):
        for session in sessions:
            session.seconds, session.calls = 0.0, 0
        start = time.perf_counter()
        run()
        whole.append(time.perf_counter() - start)
        network.append(sum(session.seconds for session in sessions))
        calls = sum(session.calls for session in sessions)
    return Times(whole=whole, network=network, calls=calls)


def _measured(bundle: str, side: int, steps: int, threads: int, rounds: int) -> Times:
    opened = open_bundle(bundle)
    sessions = open_sessions(opened, "onnx", "fp32", Setup(device="cpu", threads=threads))
    timed = {role: TimedSession(session) for role, session in sessions.items()}
    with Restorer(opened, timed) as restorer:
        name, image = schedule_name(restorer, steps, side), scene(side, side)
        return timed_rounds(
            lambda: restorer.restore(image, schedule=name, memory=MEMORY, seed=SEED), timed.values(), rounds
        )


if __name__ == "__main__":
    where, *numbers, file = sys.argv[1:]
    Path(file).write_bytes(msgspec.json.encode(_measured(where, *map(int, numbers))))
