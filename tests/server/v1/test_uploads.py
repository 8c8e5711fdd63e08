"""Uploads in order, in time and as their digests say; all others are refused, and the reason says which byte."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from grpc import aio

from lqhq.runtime.errors import LimitError, LqhqError
from lqhq.server.picture_files import PictureFiles
from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.server.v1.uploads import MAX_CHUNK, Upload, Uploaded, check_header
from lqhq.server.v2.errors import DeadlineError, RequestError

Build = Callable[..., list[pb.RestoreUpload]]
IMAGE, MASK = bytes(range(250)), b"m" * 130


class Sent:
    """Stands for a call's context: gives `messages`, then a half-close, or nothing where it `stalls`."""

    def __init__(self, messages: list[Any], *, stalls: bool = False) -> None:
        self._messages, self._stalls = iter(messages), stalls

    async def read(self) -> Any:
        for message in self._messages:
            return message
        if self._stalls:
            await asyncio.sleep(60)
        return aio.EOF


def read(messages: list[Any], *, stalls: bool = False, idle_s: float = 0.05) -> Uploaded:
    async def run() -> Uploaded:
        with ThreadPoolExecutor(1) as pool:
            upload = Upload(Sent(messages, stalls=stalls), PictureFiles(pool, pool), idle_s=idle_s)  # type: ignore[arg-type]
            return await upload.files(await upload.header())

    return asyncio.run(run())


def chunk(offset: int, data: bytes, part: Any = pb.PART_IMAGE) -> pb.RestoreUpload:
    return pb.RestoreUpload(chunk=pb.Chunk(offset=offset, data=data, part=part))


def test_files_come_whole(upload: Build) -> None:
    assert read(upload(IMAGE, MASK)) == (IMAGE, MASK)
    assert read(upload(IMAGE)) == (IMAGE, None)
    assert read(upload(b"x")) == (b"x", None)


def test_the_part_of_an_image_may_be_unsaid(upload: Build) -> None:
    messages = upload(IMAGE)
    for message in messages[1:-1]:
        message.chunk.part = pb.PART_UNSPECIFIED
    assert read(messages).image == IMAGE


def test_large_files_are_hashed_elsewhere(upload: Build) -> None:
    image = bytes(3 << 20)
    assert read(upload(image, chunk=MAX_CHUNK), idle_s=5).image == image


def altered(messages: list[pb.RestoreUpload], change: str) -> list[pb.RestoreUpload]:
    """An upload of IMAGE and MASK that is wrong in one way."""
    header, first, second, third, *mask, end = messages
    wrong = pb.RestoreUpload.FromString(end.SerializeToString())
    if change == "another image digest":
        wrong.end.image_sha256 = "0" * 64
    elif change == "another mask digest":
        wrong.end.mask_sha256 = "0" * 64
    elif change == "capital digits":
        wrong.end.image_sha256 = end.end.image_sha256.upper()
    elif change == "no digest":
        wrong.end.image_sha256 = ""
    ways: dict[str, list[pb.RestoreUpload]] = {
        "no header": [first, second, third, *mask, end],
        "nothing": [],
        "an empty message": [header, pb.RestoreUpload()],
        "two headers": [header, header],
        "a chunk left out": [header, first, third, *mask, end],
        "a chunk twice": [header, first, first, second, third, *mask, end],
        "the mask first": [header, *mask, first, second, third, end],
        "an end too soon": [header, first, end],
        "a half-close too soon": [header, first],
        "a half-close without an end": [header, first, second, third, *mask],
        "more than was said": [header, first, second, chunk(200, bytes(51))],
        "more after all": [header, first, second, third, *mask, chunk(130, b"x", pb.PART_MASK)],
        "an empty chunk": [header, chunk(0, b"")],
        "a long chunk": [pb.RestoreUpload(header=pb.UploadHeader(image_bytes=1 << 30)), chunk(0, bytes(MAX_CHUNK + 1))],
        "an unknown part": [header, chunk(0, b"x", 7)],
        "no mask's chunks": [header, first, second, third, end],
        "something after the end": [*messages, first],
    }
    return ways.get(change, [header, first, second, third, *mask, wrong])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("no header", "the first message: found chunk; expected header"),
        ("nothing", "the first message: found a half-close"),
        ("an empty message", "found an empty message"),
        ("two headers", "byte 0 of 250 of the image: found header"),
        ("a chunk left out", "chunk at byte 100 of the image: found offset 200; expected 100"),
        ("a chunk twice", "found offset 0; expected 100"),
        ("the mask first", "found a chunk of the mask; expected the image's bytes 0 to 250"),
        ("an end too soon", "byte 100 of 250 of the image: found end"),
        ("a half-close too soon", "found a half-close; expected chunk"),
        ("a half-close without an end", "found a half-close; expected end"),
        ("more than was said", "found 51 bytes; expected at most 50"),
        ("more after all", "found more than 380 bytes"),
        ("an empty chunk", "found 0 bytes"),
        ("a long chunk", f"found {MAX_CHUNK + 1} bytes"),
        ("an unknown part", "found the value 7"),
        ("no mask's chunks", "byte 0 of 130 of the mask: found end"),
        ("something after the end", "a message after the end: found chunk"),
        ("another image digest", "end.image_sha256: found 0000"),
        ("another mask digest", "end.mask_sha256: found 0000"),
        ("capital digits", "expected 64 lower-case"),
        ("no digest", "expected 64 lower-case"),
    ],
)
def test_what_is_wrong_is_told(upload: Build, change: str, told: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(altered(upload(IMAGE, MASK), change))
    assert told in str(caught.value)


def test_a_digest_of_no_mask(upload: Build) -> None:
    messages = upload(IMAGE)
    messages[-1].end.mask_sha256 = "0" * 64
    with pytest.raises(RequestError, match="mask_sha256"):
        read(messages)


@pytest.mark.parametrize("messages", [0, 1, 2, -1, None])
def test_an_upload_that_stalls_ends(upload: Build, messages: int | None) -> None:
    with pytest.raises(DeadlineError, match=r"nothing for 0\.05 s"):
        read(upload(IMAGE)[:messages], stalls=True)


def test_an_upload_that_trickles_ends(upload: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    class Trickling(Sent):
        async def read(self) -> Any:
            await asyncio.sleep(0.03)
            return await super().read()

    monkeypatch.setitem(globals(), "Sent", Trickling)
    with pytest.raises(DeadlineError, match="less than 4096 bytes a second"):
        read(upload(IMAGE, chunk=10), idle_s=0.4)


@pytest.mark.parametrize(
    ("fields", "kind", "told"),
    [
        ({"image_bytes": 0}, RequestError, "header.image_bytes: found 0"),
        ({"image_bytes": 101}, LimitError, "header.image_bytes: found 101; expected at most 100"),
        ({"image_bytes": 2**64 - 1}, LimitError, "header.image_bytes"),
        ({"image_bytes": 5, "mask_bytes": 101}, LimitError, "header.mask_bytes: found 101"),
        ({"image_bytes": 5, "chunk_bytes": 4095}, RequestError, "header.chunk_bytes: found 4095"),
        ({"image_bytes": 5, "chunk_bytes": MAX_CHUNK + 1}, RequestError, "header.chunk_bytes"),
    ],
)
def test_headers_that_are_refused(fields: dict[str, int], kind: type[LqhqError], told: str) -> None:
    with pytest.raises(kind) as caught:
        check_header(pb.UploadHeader(**fields), 100)
    assert str(caught.value).startswith(told)


def test_chunks_of_the_result() -> None:
    assert check_header(pb.UploadHeader(image_bytes=100), 100) == 1 << 20
    assert check_header(pb.UploadHeader(image_bytes=100, chunk_bytes=4096), 100) == 4096
