"""The server under attack: where it is, and requests whose right answers are known to the byte."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
from measuring.scene import scene
from numpy.typing import NDArray
from serving import callers

from hostile.verdict import BUSY, FaultError, code_of
from lqhq.runtime import Restorer
from lqhq.runtime.image_file import ImageFile
from lqhq.runtime.image_write import encode_image
from lqhq.server.protos import lqhq_v1_pb2 as v1

__all__ = ["STREAM", "V2_STREAM", "Good", "Target", "ask", "good_requests", "upload"]

STREAM = "/lqhq.v1.Restoration/RestoreStream"
V2_STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
CALL_S = 120.0
TRIES, PAUSE_S = 200, 0.05
CHUNK = 1500  # bytes of an upload's chunk: a few of them for every image


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """A request that must be answered with `answer`; `taken` takes it out of the replies' messages."""

    name: str
    method: str
    messages: tuple[bytes, ...]
    taken: Callable[[Sequence[bytes]], bytes]
    answer: bytes

    @property
    def streamed(self) -> bool:
        return self.method == STREAM


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`model` is served on `port` of this machine; `largest` is the bytes of a message that it takes."""

    port: int
    model: str
    largest: int
    good: tuple[Good, ...]

    @contextmanager
    def channel(self) -> Iterator[grpc.Channel]:
        """A connection of its own."""
        options = [
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
        ]
        with grpc.insecure_channel(f"127.0.0.1:{self.port}", options) as channel:
            yield channel


def good_requests(bundle: str, model: str, sides: Sequence[int], threads: int) -> tuple[Good, ...]:
    """Each side as a V2 tensor of 8 and of 16 bits and float32, as a V2 file, and by both calls of lqhq.v1."""
    found = list[Good]()
    with Restorer.open(bundle, threads=threads) as restorer:
        for side in sides:
            pixels = scene(side, side + 4, seed=side)
            deep, real = pixels.astype(np.uint16) * 257, pixels / np.float32(255)
            for image in (pixels, deep, real):
                answer = restorer.restore(image).tobytes()
                found.append(_tensor(f"V2 {image.dtype} {side}", model, image, answer))
            file = encode_image("PNG", ImageFile(pixels=pixels))
            result = encode_image("PNG", ImageFile(pixels=restorer.restore(pixels)))
            data = callers.bytes_request(model, file)
            found += [
                Good(name=f"V2 PNG {side}", method=callers.INFER, messages=(data,), taken=_v2_pixels, answer=result),
                Good(
                    name=f"Restore {side}",
                    method=callers.RESTORE,
                    messages=(callers.restore_request(model, file),),
                    taken=lambda replies: callers.file_of(replies[0]),
                    answer=result,
                ),
                Good(
                    name=f"RestoreStream {side}",
                    method=STREAM,
                    messages=tuple(upload(model, file)),
                    taken=_downloaded,
                    answer=result,
                ),
            ]
    return tuple(found)


def _tensor(name: str, model: str, image: NDArray[Any], answer: bytes) -> Good:
    data = callers.tensor_request(model, image)
    return Good(name=name, method=callers.INFER, messages=(data,), taken=_v2_pixels, answer=answer)


def _v2_pixels(replies: Sequence[bytes]) -> bytes:
    return callers.pixels_of(replies[0])


def upload(model: str, file: bytes, *, chunk: int = CHUNK, events: bool = True) -> Iterator[bytes]:
    """The messages of a RestoreStream: header, chunks, end."""
    ask_ = v1.Ask(model=v1.ModelRef(name=model))
    header = v1.UploadHeader(ask=ask_, image_bytes=len(file), progress=events, tiles=events, chunk_bytes=4096)
    yield v1.RestoreUpload(header=header).SerializeToString()
    for at in range(0, len(file), chunk):
        part = v1.Chunk(offset=at, data=file[at : at + chunk], part=v1.PART_IMAGE)
        yield v1.RestoreUpload(chunk=part).SerializeToString()
    end = v1.UploadEnd(image_sha256=hashlib.sha256(file).hexdigest())
    yield v1.RestoreUpload(end=end).SerializeToString()


def _downloaded(replies: Sequence[bytes]) -> bytes:
    """The chunks of the events, joined. Raises `FaultError` where their digest is not the one in the last event."""
    events = [v1.RestoreEvent.FromString(reply) for reply in replies]
    data = b"".join(event.chunk.data for event in events if event.WhichOneof("message") == "chunk")
    if events[-1].done.sha256 != hashlib.sha256(data).hexdigest():
        raise FaultError("RestoreStream: the last event's digest is not that of the chunks")
    return data


def ask(channel: grpc.Channel, good: Good) -> int:
    """Ask until the server has time, and compare. Returns how often it had none.

    Raises `FaultError` for a wrong answer, and for any status but those that ask to come again.
    """
    for refused in range(TRIES):
        try:
            if good.streamed:
                replies = list(channel.stream_stream(good.method)(iter(good.messages), timeout=CALL_S))
            else:
                replies = [channel.unary_unary(good.method)(good.messages[0], timeout=CALL_S)]
        except grpc.RpcError as error:
            if code_of(error) not in BUSY:
                raise FaultError(f"{good.name}: status {code_of(error).name} ({error.details()})") from error
            time.sleep(PAUSE_S)
            continue
        if good.taken(replies) != good.answer:
            raise FaultError(f"{good.name}: an answer that is not the right one")
        return refused
    raise FaultError(f"{good.name}: refused {TRIES} times")
