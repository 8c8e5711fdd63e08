"""One shard: a tar archive whose samples are `KEY.lq.png`, `KEY.hq.png` where asked for, and `KEY.json`, in this order.

The form is POSIX.1-2001 (pax), as WebDataset readers take it. What a tar tells of time and owner is fixed, so that
equal samples give equal bytes.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from lqhq.runtime.synthesis.journal import row_line

__all__ = ["Sample", "read_samples", "sample_bytes", "tar_end"]

BLOCK = tarfile.BLOCKSIZE
MODE = 0o644


class Sample(NamedTuple):
    """A sample of a shard; `end` is where the next one begins."""

    row: dict[str, Any]
    lq: bytes
    hq: bytes | None
    end: int


def sample_bytes(row: dict[str, Any], lq: bytes, hq: bytes | None) -> bytes:
    """The members of a sample; its key is the row's `name`."""
    members = [("lq.png", lq), *([] if hq is None else [("hq.png", hq)]), ("json", row_line(row))]
    return b"".join(_member(f"{row['name']}.{suffix}", data) for suffix, data in members)


def tar_end(size: int) -> bytes:
    """What closes an archive of `size` bytes: two blocks of zeros, and as many more as fill the last record."""
    return bytes(2 * BLOCK + -(size + 2 * BLOCK) % tarfile.RECORDSIZE)


def read_samples(path: Path) -> Iterator[Sample]:
    """The whole samples of a shard, as far as they go: one that breaks off ends it. Raises `OSError`."""
    with path.open("rb") as file:
        try:
            with tarfile.open(fileobj=file, mode="r:", format=tarfile.PAX_FORMAT) as archive:
                yield from _samples(archive, file)
        except tarfile.ReadError:  # an empty file, or a header that breaks off
            return


def _samples(archive: tarfile.TarFile, file: IO[bytes]) -> Iterator[Sample]:
    images: dict[str, bytes] = {}
    for member in archive:
        file.seek(member.offset_data)
        data = file.read(member.size)
        key, suffix = _split(member.name)
        if len(data) < member.size or not member.isreg():
            return
        if suffix != "json":
            images[suffix] = data
            continue
        try:
            row = json.loads(data)
        except ValueError:
            return
        if not isinstance(row, dict) or row.get("name") != key or "lq.png" not in images:
            return
        end = member.offset_data + member.size + -member.size % BLOCK
        yield Sample(row, images["lq.png"], images.get("hq.png"), end)
        images = {}


def _member(name: str, data: bytes) -> bytes:
    head = tarfile.TarInfo(name)  # no owner, and the time 0
    head.size, head.mode = len(data), MODE
    return head.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape") + data + bytes(-len(data) % BLOCK)


def _split(member: str) -> tuple[str, str]:
    """Key and suffix, as WebDataset parts them: at the first dot of the last name."""
    folder, _, name = member.rpartition("/")
    key, _, suffix = name.partition(".")
    return f"{folder}/{key}" if folder else key, suffix
