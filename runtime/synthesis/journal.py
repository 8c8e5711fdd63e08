"""The rows of pairs that are there, as they come; at the end they are the manifest, in the order of the images."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lqhq.runtime.synthesis.whole_file import TEMPORARY, told, write_all

__all__ = ["JOURNAL", "MANIFEST", "Journal", "row_line"]

MANIFEST = "manifest.jsonl"
JOURNAL = ".manifest.jsonl.part"  # by its name no whole file, and it may end in half a line


def row_line(row: dict[str, Any]) -> bytes:
    """A row as one line of JSON, keys in their order, ASCII."""
    return json.dumps(row, allow_nan=False, separators=(",", ":")).encode() + b"\n"


class Journal:
    """Rows by the name of their pair, in a file; in memory there are only their places.

    A kill may leave half a line at the end, which is cut off when it is opened again.
    """

    def __init__(self, out: Path, *, fresh: bool) -> None:
        """That of the output folder `out`; `fresh` forgets what it held. Raises `ImageError`."""
        self._out, self._path = out, out / JOURNAL
        with told(self._path):
            if not fresh and not self._path.exists() and (out / MANIFEST).exists():
                os.replace(out / MANIFEST, self._path)  # a finished run goes on
            self._path.touch()
            if fresh:
                os.truncate(self._path, 0)
            self._places: dict[str, tuple[int, int]] = {}
            self._end = 0
            with self._path.open("rb") as lines:
                for line in lines:
                    name = _name_in(line)
                    if name is None:
                        break
                    self._places[name] = (self._end, len(line))
                    self._end += len(line)
            self._file = self._path.open("r+b", buffering=0)  # so that nothing waits to be written once more
            self._file.truncate(self._end)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, which stays."""
        self._file.close()

    def append(self, row: dict[str, Any]) -> None:
        """Add a row, which has the pair's `name`. Raises `ImageError`, and then nothing was added."""
        line = row_line(row)
        with told(self._path):
            try:
                self._file.seek(self._end)
                write_all(self._file.fileno(), line)
            except OSError:
                self._file.truncate(self._end)
                raise
        self._places[row["name"]] = (self._end, len(line))
        self._end += len(line)

    def row(self, name: str) -> dict[str, Any] | None:
        """The row of a pair, or None."""
        if name not in self._places:
            return None
        row: dict[str, Any] = json.loads(self._line(name))
        return row

    @property
    def names(self) -> Iterable[str]:
        """Of all pairs that have a row."""
        return self._places.keys()

    def finish(self, names: Iterable[str]) -> None:
        """Write the manifest: the rows of `names` that are there, in this order. Raises `ImageError`."""
        partial = self._out / TEMPORARY
        with told(self._out / MANIFEST):
            try:
                with partial.open("wb") as file:
                    file.writelines(self._line(name) for name in names if name in self._places)
                os.replace(partial, self._out / MANIFEST)
            finally:
                partial.unlink(missing_ok=True)
            self._path.unlink()

    def _line(self, name: str) -> bytes:
        place, length = self._places[name]
        self._file.seek(place)
        return self._file.read(length)


def _name_in(line: bytes) -> str | None:
    """The pair's name, or None for half a line."""
    if not line.endswith(b"\n"):
        return None
    try:
        row = json.loads(line)
    except ValueError:
        return None
    name = row.get("name") if isinstance(row, dict) else None
    return name if isinstance(name, str) else None
