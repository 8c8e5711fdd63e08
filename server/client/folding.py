"""The events of a stream into a result: order, sizes and digest are checked as they come, with no socket in sight."""

from __future__ import annotations

import hashlib
import io
from typing import NamedTuple

from lqhq.runtime.errors import LimitError
from lqhq.runtime.geometry import Box
from lqhq.server.client.errors import TransferError
from lqhq.server.client.result import Result
from lqhq.server.protos import lqhq_v1_pb2 as pb

__all__ = ["MAX_RESULT_BYTES", "Folding", "Notice", "Piece", "Progress"]

MAX_RESULT_BYTES = 4 << 30  # more than an RGB image of a gigapixel; a server that promises more is not believed
# What may come next, by what came last.
NEXT = {
    "": {"accepted"},
    "accepted": {"progress", "tile", "result"},
    "result": {"chunk"},
    "chunk": {"chunk", "done"},
    "done": set[str](),
}
NEXT |= {"progress": NEXT["accepted"], "tile": NEXT["accepted"]}


class Progress(NamedTuple):
    """Network calls over tiles; `left_s` is 0 where it is not known."""

    done: int
    total: int
    left_s: float


class Piece(NamedTuple):
    """A box of the result whose pixels are final, as a PNG file."""

    box: Box
    png: bytes


Notice = Progress | Piece


class Folding:
    """Takes the events of one call, in order. `address` is named in errors."""

    def __init__(self, address: str, *, max_bytes: int = MAX_RESULT_BYTES) -> None:
        self._address, self._max_bytes = address, max_bytes
        self._last, self._promised = "", 0
        # Grows with what really came: a promise alone costs no memory.
        self._file, self._digest = io.BytesIO(), hashlib.sha256()
        self._outcome: pb.Outcome | None = None

    def take(self, event: pb.RestoreEvent) -> Notice | None:
        """Fold one event; returns what a listener may want to hear.

        Raises `TransferError` for an event out of order or a stretch that does not fit, `LimitError` for a result
        that is too large to be believed. An event that is newer than this client is passed over.
        """
        kind = event.WhichOneof("message")
        if kind is None:
            return None
        if kind not in NEXT[self._last]:
            expected = " or ".join(sorted(NEXT[self._last])) or "the end"
            raise self._broken(f"{kind!r} after {self._last or 'nothing'!r}", expected)
        self._last = kind
        match kind:
            case "accepted":
                run_s = event.accepted.run_s  # 0 where the server has measured nothing
                return Progress(0, event.accepted.works, event.accepted.queue_s + run_s if run_s else 0.0)
            case "progress":
                return Progress(event.progress.done, event.progress.total, event.progress.left_s)
            case "tile":
                box = event.tile.box
                return Piece(Box(box.top, box.left, box.height, box.width), event.tile.image)
            case "result":
                self._expect(event.result.bytes)
            case "chunk":
                self._append(event.chunk)
            case "done":
                self._finish(event.done)
        return None

    def result(self) -> Result:
        """The result, after the last event. Raises `TransferError` where the download broke off."""
        if self._outcome is None:
            came = f"a reply that ends after {self._last or 'nothing'!r}, {self._file.tell()} bytes of {self._promised}"
            raise self._broken(came, "a whole result")
        return Result(self._file.getvalue(), self._outcome)

    def _expect(self, promised: int) -> None:
        if promised > self._max_bytes:
            raise LimitError(
                self._address,
                found=f"a result of {promised} bytes",
                expected=f"at most {self._max_bytes}",
                mend="Ask for JPEG or WebP, or cut the image into parts.",
            )
        if not promised:
            raise self._broken("a result of 0 bytes", "a file")
        self._promised = promised

    def _append(self, chunk: pb.Chunk) -> None:
        have, length = self._file.tell(), len(chunk.data)
        if chunk.offset != have or not 0 < length <= self._promised - have:
            raise self._broken(
                f"a chunk of {length} bytes at {chunk.offset}",
                f"1 to {self._promised - have} bytes at {have}",
            )
        self._file.write(chunk.data)
        self._digest.update(chunk.data)

    def _finish(self, done: pb.Done) -> None:
        if self._file.tell() != self._promised:
            raise self._broken(f"{self._file.tell()} bytes of {self._promised}", "the whole result")
        digest = self._digest.hexdigest()
        if digest != done.sha256:
            told = done.sha256[:64] or "a digest"
            raise self._broken(f"a result with SHA-256 {digest}", f"{told}, as the server says")
        self._outcome = done.outcome

    def _broken(self, found: str, expected: str) -> TransferError:
        mend = "Ask again; if it comes back, something between changes what is sent, or the server has a fault."
        return TransferError(self._address, found=found, expected=expected, mend=mend)
