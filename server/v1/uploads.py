"""The messages of an upload: header, chunks, end, half-close, in this order and each in time.

Nothing is believed: sizes are declared first and held to, offsets follow each other, digests are checked. An upload
that stalls ends, for it holds memory. Buffers grow with what has come, never to what was declared.
"""

from __future__ import annotations

import asyncio
import io
import math
import re
from typing import Any, NamedTuple

from grpc import aio

from lqhq.runtime.errors import LimitError
from lqhq.server.picture_files import PictureFiles
from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.server.v1.enum_words import word_of
from lqhq.server.v2.errors import DeadlineError, RequestError

__all__ = ["MAX_CHUNK", "Upload", "Uploaded", "check_header"]

MAX_CHUNK = 2 << 20  # bytes
LEAST_CHUNK, USUAL_CHUNK = 4096, 1 << 20
LEAST_RATE = 4096  # bytes a second, on the whole: a byte now and then would hold room for ever
DIGEST = re.compile(r"[0-9a-f]{64}")
PARTS = ("image", "mask")


class Uploaded(NamedTuple):
    """The files, whole and as their digests say."""

    image: bytes
    mask: bytes | None


def check_header(header: pb.UploadHeader, max_bytes: int) -> int:
    """The length of the result's chunks. Raises `RequestError` and `LimitError`; nothing has been allocated."""
    for name, size in (("image_bytes", header.image_bytes), ("mask_bytes", header.mask_bytes)):
        if size > max_bytes:
            raise LimitError(
                f"header.{name}", found=str(size), expected=f"at most {max_bytes}", mend="Send a smaller file."
            )
    if header.image_bytes == 0:
        raise RequestError(
            "header.image_bytes", found="0", expected="the size of the image's file", mend="Say it before the chunks."
        )
    chunk = header.chunk_bytes or USUAL_CHUNK
    if not LEAST_CHUNK <= chunk <= MAX_CHUNK:
        raise RequestError(
            "header.chunk_bytes",
            found=str(chunk),
            expected=f"{LEAST_CHUNK} to {MAX_CHUNK}, or 0 for {USUAL_CHUNK}",
            mend="Leave it out.",
        )
    return chunk


class Upload:
    """Reads one upload. `idle_s`: the longest time between two messages, and what `LEAST_RATE` comes on top of."""

    def __init__(self, context: aio.ServicerContext[Any, Any], files: PictureFiles, *, idle_s: float) -> None:
        self._context, self._files, self._idle_s = context, files, idle_s
        self._end_s = math.inf

    async def header(self) -> pb.UploadHeader:
        """The first message. Raises `RequestError` for another one, `DeadlineError` where none comes."""
        message = await self._next("header")
        if message is None or message.WhichOneof("message") != "header":
            raise _out_of_order("the first message", message, "header")
        return message.header

    async def files(self, header: pb.UploadHeader) -> Uploaded:
        """All that follows the header. Raises `RequestError`, `DeadlineError`."""
        seconds = self._idle_s + (header.image_bytes + header.mask_bytes) / LEAST_RATE
        self._end_s = asyncio.get_running_loop().time() + seconds
        image = await self._part("image", header.image_bytes)
        mask = await self._part("mask", header.mask_bytes) if header.mask_bytes else None
        message = await self._next("end")
        if message is None or message.WhichOneof("message") != "end":
            raise _too_much(message, header) or _out_of_order("the message after the last chunk", message, "end")
        await self._check("image", image, message.end.image_sha256)
        if mask is not None or message.end.mask_sha256:
            await self._check("mask", mask or b"", message.end.mask_sha256)
        last = await self._next("half-close")
        if last is not None:
            raise _out_of_order("a message after the end", last, "none: the client half-closes")
        return Uploaded(image, mask)

    async def _part(self, part: str, size: int) -> bytes:
        """The chunks of one file. `BytesIO` hands its bytes out without a copy once nobody writes any more."""
        file = io.BytesIO()
        while (done := file.tell()) < size:
            message = await self._next("chunk")
            if message is None or message.WhichOneof("message") != "chunk":
                raise _out_of_order(f"byte {done} of {size} of the {part}", message, "chunk")
            _check_chunk(message.chunk, part, done, size)
            file.write(message.chunk.data)
        return file.getvalue()

    async def _next(self, awaited: str) -> pb.RestoreUpload | None:
        """The next message; None where the client has half-closed."""
        now_s = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(min(now_s + self._idle_s, self._end_s)):
                message = await self._context.read()
        except TimeoutError:
            stalled = f"nothing for {self._idle_s:g} s"
            slow = f"less than {LEAST_RATE} bytes a second"
            raise DeadlineError(
                "upload",
                found=slow if asyncio.get_running_loop().time() >= self._end_s else stalled,
                expected=awaited,
                mend="Send the chunks without a pause; an upload that stalls holds memory.",
            ) from None
        return None if message is aio.EOF else message

    async def _check(self, part: str, data: bytes, told: str) -> None:
        if DIGEST.fullmatch(told) is None:
            raise RequestError(
                f"end.{part}_sha256",
                found=repr(told[:80]),
                expected="64 lower-case hexadecimal digits",
                mend=f"Send the SHA-256 of the {part}'s file.",
            )
        found = await self._files.sha256(data)
        if found != told:
            raise RequestError(
                f"end.{part}_sha256",
                found=f"{told}, and bytes whose digest is {found}",
                expected="one digest",
                mend="The file changed on its way, or while it was read; send it again.",
            )


def _too_much(message: pb.RestoreUpload | None, header: pb.UploadHeader) -> RequestError | None:
    if message is None or message.WhichOneof("message") != "chunk":
        return None
    size = header.image_bytes + header.mask_bytes
    return RequestError(
        "chunk", found=f"more than {size} bytes", expected=f"{size}, as the header says", mend="Correct the header."
    )


def _check_chunk(chunk: pb.Chunk, part: str, done: int, size: int) -> None:
    where = f"chunk at byte {done} of the {part}"
    found = word_of(pb.Part, chunk.part, "chunk.part") or PARTS[0]
    length = len(chunk.data)
    wrong: tuple[str, str] | None = None
    if found != part:
        wrong = f"a chunk of the {found}", f"the {part}'s bytes {done} to {size}"
    elif chunk.offset != done:
        wrong = f"offset {chunk.offset}", f"{done}: chunks follow each other without a gap"
    elif not 1 <= length <= MAX_CHUNK:
        wrong = f"{length} bytes", f"1 to {MAX_CHUNK}"
    elif done + length > size:
        wrong = f"{length} bytes", f"at most {size - done}, for the header says {size} in all"
    if wrong is not None:
        raise RequestError(where, found=wrong[0], expected=wrong[1], mend="Send the file in order, in whole.")


def _out_of_order(where: str, message: pb.RestoreUpload | None, expected: str) -> RequestError:
    found = "a half-close" if message is None else message.WhichOneof("message") or "an empty message"
    return RequestError(
        where, found=found, expected=expected, mend="An upload is a header, chunks, an end, and a half-close."
    )
