"""A whole run: which pairs are missing, who makes them, where they go, and what became of each image."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lqhq.runtime.errors import EngineError
from lqhq.runtime.synthesis.folder_sink import FolderSink
from lqhq.runtime.synthesis.output_folder import output_folder
from lqhq.runtime.synthesis.pair import Failure, Pair, PairJob, Recipe
from lqhq.runtime.synthesis.pair_check import follows, is_intact
from lqhq.runtime.synthesis.settings import Settings
from lqhq.runtime.synthesis.shard_sink import ShardSink
from lqhq.runtime.synthesis.sink import Sink
from lqhq.runtime.synthesis.sources import Source
from lqhq.runtime.synthesis.workers import in_order

__all__ = ["Outcome", "make_pairs"]

Listener = Callable[[str, int, int], None]
PASSED = "it failed when the shards around it were written, and those are not changed; another -o tries it again"


@dataclass(slots=True)
class Outcome:
    """What became of one image: pairs made now, pairs that were there, and the first thing that went wrong."""

    source: Source
    made: int = 0
    kept: int = 0
    error: str | None = None

    @property
    def status(self) -> str:
        """ "done", "skipped" (all was there) or "failed"."""
        return "failed" if self.error is not None else "done" if self.made else "skipped"


def make_pairs(
    recipe: Recipe,
    sources: Sequence[Source],
    out: Path,
    *,
    workers: int = 1,
    resume: bool = False,
    listen: Listener | None = None,
) -> list[Outcome]:
    """Make all pairs of `sources` in the folder `out`, as `recipe.settings` say; one outcome for each source.

    The bytes depend on the settings and each image alone, not on `workers`, on their speed, or on how often the run was
    stopped and resumed. `listen(name, done, total)` is called after each pair that
    was not there. What is wrong with an image is kept for
    the end. Raises `OptionError` for a folder that cannot be gone on in, `ImageError` where writing fails (what is
    there stays whole), and `EngineError` where a worker is lost or gives another pair than it was asked for.
    """
    settings = recipe.settings
    jobs = [PairJob(source, index) for source in sources for index in range(settings.count)]
    tally = _Tally(sources, len(jobs), listen)
    with output_folder(out, settings, resume=resume) as resumed, _sink(out, settings, resumed) as sink:
        missing = _missing(jobs, sink, tally)
        with closing(in_order(missing, recipe.open, workers)) as results:
            for result in results:
                if isinstance(result, Pair):
                    _require_right(result, settings)
                    sink.put(result)
                tally.count(result)
        sink.finish(job.name for job in jobs)
    return tally.outcomes


def _missing(jobs: Iterable[PairJob], sink: Sink, tally: _Tally) -> Iterator[PairJob]:
    """The pairs that are to be made; of the others it is noted what is with them."""
    for job in jobs:
        state = sink.state(job)
        if state == "open":
            yield job
        else:
            tally.pass_by(job, None if state == "kept" else f"{job.source.path}: {PASSED}")


class _Tally:
    """What became of each image so far."""

    def __init__(self, sources: Sequence[Source], total: int, listen: Listener | None) -> None:
        self._by_name = {source.name: Outcome(source) for source in sources}
        self._total, self._listen = total, listen
        self._done = 0

    @property
    def outcomes(self) -> list[Outcome]:
        return list(self._by_name.values())

    def count(self, result: Pair | Failure) -> None:
        outcome = self._next(result.job)
        if isinstance(result, Pair):
            outcome.made += 1
        else:
            outcome.error = outcome.error or result.error
        if self._listen is not None:
            self._listen(result.job.name, self._done, self._total)

    def pass_by(self, job: PairJob, error: str | None) -> None:
        outcome = self._next(job)
        if error is None:
            outcome.kept += 1
        else:
            outcome.error = outcome.error or error

    def _next(self, job: PairJob) -> Outcome:
        self._done += 1
        return self._by_name[job.source.name]


def _sink(out: Path, settings: Settings, resumed: bool) -> Sink:
    if settings.shard_bytes is None:
        return FolderSink(out, settings, resumed=resumed)
    return ShardSink(out, settings, settings.shard_bytes, resumed=resumed)


def _require_right(pair: Pair, settings: Settings) -> None:
    digest = bytes.fromhex(pair.row["source_sha256"])
    if not (follows(pair.row, settings, digest, pair.job.index) and is_intact(pair.row, pair.lq, pair.hq)):
        raise EngineError(
            "worker",
            found=f"another pair than {pair.job.name}, as its seed or its digests say",
            expected="what the settings ask for",
            mend="Test the machine's memory; what was written before is right.",
        )
