"""Pairs as WebDataset shards: `pairs-000000.tar` and so on, each closed before it would pass a size.

A shard that is being filled has another name, and may end in half a sample, which is cut off when the run goes on; so
what is called `.tar` is whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from lqhq.runtime.errors import ImageError
from lqhq.runtime.synthesis.journal import Journal
from lqhq.runtime.synthesis.pair import Pair, PairJob
from lqhq.runtime.synthesis.pair_check import Digests, follows, is_intact
from lqhq.runtime.synthesis.settings import Settings
from lqhq.runtime.synthesis.shard_file import Sample, read_samples, sample_bytes, tar_end
from lqhq.runtime.synthesis.sink import State
from lqhq.runtime.synthesis.whole_file import told, write_all

__all__ = ["ShardSink", "shard_name"]


def shard_name(number: int) -> str:
    """The name of a finished shard."""
    return f"pairs-{number:06d}.tar"


class ShardSink:
    """The shards in `out`; `resumed` says that some may be there. A `Sink`."""

    def __init__(self, out: Path, settings: Settings, limit: int, *, resumed: bool) -> None:
        """A shard has at most `limit` bytes, unless it is of one sample. Raises `ImageError` for a damaged one."""
        self._out, self._settings, self._limit = out, settings, limit
        self._digests = Digests()
        self._journal = Journal(out, fresh=True)  # the shards hold the rows themselves
        self._file: int | None = None
        self._number, self._used = 0, 0
        if resumed:
            with ExitStack() as reading:
                reading.callback(self._journal.close)
                self._read()
                reading.pop_all()
        self._left = set(self._journal.names)  # of those there, what the run has not come to yet

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()
        if self._file is not None:
            os.close(self._file)

    def state(self, job: PairJob) -> State:
        row = self._journal.row(job.name)
        if row is None:
            # Samples lie in the order of the images: before one that is there, none can be put in.
            return "closed" if self._left else "open"
        self._left.discard(job.name)
        digest = self._digests.of(job.source.path)
        if digest is None or not follows(row, self._settings, digest, job.index):
            raise ImageError(
                str(job.source.path),
                found=f"another content than that of the pair in {row['shard']}",
                expected="the image as it was: shards that are there are not changed",
                mend="Bring it back, or give another -o.",
            )
        return "kept"

    def put(self, pair: Pair) -> None:
        row = {"name": pair.job.name, **pair.row}
        data = sample_bytes(row, pair.lq, pair.hq)
        if self._used and self._used + len(data) + len(tar_end(self._used + len(data))) > self._limit:
            self._close()
        with told(self._partial):
            if self._file is None:
                self._file = os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._append(data)
        self._enter(row)

    def finish(self, names: Iterable[str]) -> None:
        if self._used:
            self._close()
        with told(self._partial):
            self._partial.unlink(missing_ok=True)  # an empty one, of a disk that was full
        self._journal.finish(names)

    @property
    def _partial(self) -> Path:
        return self._out / f".{shard_name(self._number)}.part"

    def _append(self, data: bytes) -> None:
        """At the end of what is used; on a failure nothing is added. Raises `OSError`."""
        assert self._file is not None
        try:
            os.lseek(self._file, self._used, os.SEEK_SET)
            write_all(self._file, data)
        except OSError:
            os.ftruncate(self._file, self._used)
            raise
        self._used += len(data)

    def _close(self) -> None:
        """Finish the shard that is being filled; the next sample begins another."""
        with told(self._out / shard_name(self._number)):
            if self._file is None:
                self._file = os.open(self._partial, os.O_RDWR | os.O_CLOEXEC)
            self._append(tar_end(self._used))
            os.fsync(self._file)  # a power cut must not leave half of what has a whole one's name
            os.close(self._file)
            self._file = None
            os.replace(self._partial, self._out / shard_name(self._number))
        self._number, self._used = self._number + 1, 0

    def _enter(self, row: dict[str, object]) -> None:
        self._journal.append({"shard": shard_name(self._number), **row})

    def _read(self) -> None:
        """Take over what an earlier run left: finished shards as they are, of the next one its whole samples."""
        while (shard := self._out / shard_name(self._number)).exists():
            size = self._take(shard)
            if not size or not _ends_at(shard, size):
                raise ImageError(
                    str(shard),
                    found="a sample that is damaged, or not of this run",
                    expected="the shard as it was written",
                    mend="Delete it and those after it, and go on with --resume: they come out the same.",
                )
            self._number += 1
        with told(self._partial):
            if self._partial.exists():
                self._used = self._take(self._partial)
                os.truncate(self._partial, self._used)

    def _take(self, shard: Path) -> int:
        """Enter the rows of the samples that are right, from the first on; where they end."""
        end = 0
        with told(shard):
            for sample in read_samples(shard):
                if not self._is_right(sample):
                    break
                self._enter(sample.row)
                end = sample.end
        return end

    def _is_right(self, sample: Sample) -> bool:
        return is_intact(sample.row, sample.lq, sample.hq) and self._journal.row(str(sample.row["name"])) is None


def _ends_at(shard: Path, size: int) -> bool:
    """Whether the archive has what closes it behind `size` bytes, and no more. Raises `ImageError`."""
    with told(shard), shard.open("rb") as file:
        file.seek(size)
        end = tar_end(size)
        return file.read(len(end) + 1) == end
