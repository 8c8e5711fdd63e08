"""The driver: one thread at the session, work made ready ahead, failures and stops passed on."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lqhq.runtime.driver import drive
from lqhq.runtime.errors import CancelledError, EngineError


class Steps:
    """Stands in for a Job: `tiles` chains of `rows` works; each work can run once the one before it is done."""

    def __init__(self, tiles: int, rows: int, log: list[str]) -> None:
        self.total, self._rows, self._log = tiles * rows, rows, log
        self._ready = [(tile, 0) for tile in range(tiles)]

    def ready(self, limit: int) -> list[Any]:
        given, self._ready = self._ready[:limit], self._ready[limit:]
        return [self._work(*at) for at in given]

    def _work(self, tile: int, row: int) -> Any:
        def feed() -> dict[str, np.ndarray]:
            self._log.append(f"feed {tile}.{row}")
            return {"state": np.full((1, 1), 10 * tile + row, np.float32)}

        call = SimpleNamespace(role="denoise", tile=tile, row=row)
        return SimpleNamespace(job=self, key=("denoise", 1, 1), call=call, feed=feed)

    def done(self, work: Any, fetch: dict[str, np.ndarray]) -> None:
        tile, row = work.call.tile, work.call.row
        assert fetch["pred"].tolist() == [[10 * tile + row + 0.5]]  # a swapped sample turns this red
        self._log.append(f"done {tile}.{row}")
        if row + 1 < self._rows:
            self._ready.append((tile, row + 1))


class Session:
    def __init__(self, log: list[str]) -> None:
        self.log, self.threads, self.sizes = log, set[int](), list[int]()

    def run(self, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.threads.add(threading.get_ident())
        self.sizes.append(len(feed["state"]))
        return {"pred": feed["state"] + np.float32(0.5)}


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
@pytest.mark.parametrize(("tiles", "rows"), [(1, 1), (1, 4), (5, 1), (4, 3)])
def test_everything_runs_once_in_full_batches(batch, tiles, rows):
    log: list[str] = []
    session = Session(log)
    drive([Steps(tiles, rows, log)], {"denoise": session}, batch=batch)
    assert sum(line.startswith("done") for line in log) == tiles * rows
    assert len(session.threads) == 1
    assert threading.get_ident() not in session.threads
    assert set(session.sizes) == {batch}


def test_the_next_batch_is_ready_before_the_last_is_put_away():
    log: list[str] = []
    drive([Steps(4, 1, log)], {"denoise": Session(log)})
    assert log[:4] == ["feed 0.0", "feed 1.0", "done 0.0", "feed 2.0"]


def test_a_failure_of_the_session_is_the_callers():
    class Failing(Session):
        def run(self, feed):
            raise EngineError("x", found="a fault", expected="none", mend="mend it")

    with pytest.raises(EngineError, match="a fault"):
        drive([Steps(3, 1, [])], {"denoise": Failing([])})


def test_cancel_is_asked_before_every_batch():
    log: list[str] = []
    with pytest.raises(CancelledError, match="after 0 of 3"):
        drive([Steps(3, 1, log)], {"denoise": Session(log)}, cancel=lambda: True)
    assert log == []
