"""What a worker prints, line by line."""

from __future__ import annotations

import os
from typing import IO

__all__ = ["Output"]

MOST_LINE = 2000  # bytes
MOST_READ = 1 << 16  # at once: a worker that only prints must not hold up who reads
MOST_LAST = 16  # reads after its end: what is left is no more than the pipe holds, 64 KiB unless somebody changed it


class Output:
    """The lines of a pipe, without waiting for any. `ended` when the other end is closed."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe, self._rest, self.ended = pipe, b"", False
        os.set_blocking(pipe.fileno(), False)

    def fileno(self) -> int:
        return self._pipe.fileno()

    def read(self) -> list[str]:
        """The lines that came, cut where they are long."""
        try:
            data = os.read(self._pipe.fileno(), MOST_READ)
        except BlockingIOError:
            return []
        self.ended = not data
        *whole, self._rest = (self._rest + data).split(b"\n")
        if self._rest and (self.ended or len(self._rest) > MOST_LINE):
            whole, self._rest = [*whole, self._rest], b""
        return [line[:MOST_LINE].decode(errors="replace").rstrip() for line in whole if line.strip()]

    def close(self) -> list[str]:
        """Close it; the last lines, once its process has ended."""
        lines = list[str]()
        for _ in range(MOST_LAST):
            if self.ended:
                break
            lines += self.read()
        self._pipe.close()
        return lines
