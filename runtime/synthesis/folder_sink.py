"""Pairs as files: `lq/NAME_0.png`, `hq/NAME.png`, and at the end `manifest.jsonl`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lqhq.runtime.synthesis.journal import Journal
from lqhq.runtime.synthesis.pair import Pair, PairJob
from lqhq.runtime.synthesis.pair_check import Digests, follows
from lqhq.runtime.synthesis.settings import Settings
from lqhq.runtime.synthesis.sink import State
from lqhq.runtime.synthesis.whole_file import write_whole

__all__ = ["FolderSink"]


class FolderSink:
    """The files below `out`; `resumed` says that some may be there. A `Sink`."""

    def __init__(self, out: Path, settings: Settings, *, resumed: bool) -> None:
        self._out, self._settings = out, settings
        self._journal = Journal(out, fresh=not resumed)
        self._digests = Digests()
        self._last_hq: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()

    def state(self, job: PairJob) -> State:
        row = self._journal.row(job.name)
        if row is None:
            return "open"
        digest = self._digests.of(job.source.path)
        if digest is None or not follows(row, self._settings, digest, job.index):
            return "open"
        there = {name: row[f"{name}_sha256"] for name in ("lq", "hq") if row[name] is not None}
        found = {name: self._digests.of(self._out / row[name]) for name in there}
        return "kept" if all((found[name] or b"").hex() == there[name] for name in there) else "open"

    def put(self, pair: Pair) -> None:
        """The row comes last: what has one is whole."""
        job, hq = pair.job, None
        if pair.hq is not None:
            hq = self._out / "hq" / f"{job.source.name}.png"
            if hq != self._last_hq:  # it is the same for all pairs of an image
                write_whole(self._out, hq, pair.hq)
                self._last_hq = hq
        lq = self._out / "lq" / f"{job.name}.png"
        write_whole(self._out, lq, pair.lq)
        self._journal.append({"name": job.name, "lq": self._place(lq), "hq": self._place(hq), **pair.row})

    def finish(self, names: Iterable[str]) -> None:
        self._journal.finish(names)

    def _place(self, path: Path | None) -> Any:
        return None if path is None else path.relative_to(self._out).as_posix()
