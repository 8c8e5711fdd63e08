"""Attacks by streams: uploads broken off or out of order, readers that do not read, streams of both protocols."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence

import grpc
import numpy as np
from serving import callers

from hostile.infer_mutants import INFER_CHANGES
from hostile.target import CALL_S, STREAM, V2_STREAM, Target
from hostile.verdict import REFUSED, FaultError, judged
from lqhq.server.protos import lqhq_v1_pb2 as v1
from lqhq.server.protos.inference_pb2 import ModelInferRequest, ModelStreamInferResponse

__all__ = ["broken_upload", "cancelled_upload", "half_closed_upload", "mixed_stream", "slow_reader", "slow_upload"]

GIVEN_UP = frozenset({*REFUSED, grpc.StatusCode.CANCELLED})
UNREAD_S = 3.0  # longest that a reader reads nothing; longer than the server waits for one here
LETTERS = 6

Upload = Callable[[list[bytes], np.random.Generator], list[bytes]]


def _messages(target: Target, draw: np.random.Generator) -> list[bytes]:
    good = [one for one in target.good if one.streamed]
    return list(good[int(draw.integers(len(good)))].messages)


def _upload(data: bytes) -> v1.RestoreUpload:
    return v1.RestoreUpload.FromString(data)


def _no_header(messages: list[bytes], draw: np.random.Generator) -> list[bytes]:
    return messages[1:]


def _two_headers(messages: list[bytes], draw: np.random.Generator) -> list[bytes]:
    return [messages[0], *messages]


def _shuffled(messages: list[bytes], draw: np.random.Generator) -> list[bytes]:
    """Never as they were: the end comes first."""
    return [messages[-1], *(messages[int(at)] for at in draw.permutation(len(messages) - 1))]


def _gap(messages: list[bytes], draw: np.random.Generator) -> list[bytes]:
    at = int(draw.integers(1, len(messages) - 1))
    return [*messages[:at], *messages[at + 1 :]]


def _twice(messages: list[bytes], draw: np.random.Generator) -> list[bytes]:
    at = int(draw.integers(1, len(messages) - 1))
    return [*messages[: at + 1], *messages[at:]]


def _digest(messages: list[bytes], draw: np.random.Generator) -> list[bytes]:
    end = v1.RestoreUpload(end=v1.UploadEnd(image_sha256=("0" * 64, "", "x" * 64, "A" * 64)[int(draw.integers(4))]))
    return [*messages[:-1], end.SerializeToString()]


def _size(messages: list[bytes], draw: np.random.Generator) -> list[bytes]:
    """Less, more, or vastly more than what comes."""
    header = _upload(messages[0])
    header.header.image_bytes = (0, 1, header.header.image_bytes + 1, 2**40, 2**64 - 1)[int(draw.integers(5))]
    return [header.SerializeToString(), *messages[1:]]


def _empty(messages: list[bytes], draw: np.random.Generator) -> list[bytes]:
    """A message that says nothing, or a chunk without bytes."""
    nothing = (v1.RestoreUpload(), v1.RestoreUpload(chunk=v1.Chunk()))[int(draw.integers(2))]
    return [messages[0], nothing.SerializeToString(), *messages[1:]]


def _mask(messages: list[bytes], draw: np.random.Generator) -> list[bytes]:
    header = _upload(messages[0])
    header.header.mask_bytes = int(draw.integers(1, 2**40))
    return [header.SerializeToString(), *messages[1:]]


def _chunk_bytes(messages: list[bytes], draw: np.random.Generator) -> list[bytes]:
    header = _upload(messages[0])
    header.header.chunk_bytes = (1, 4095, 2**21 + 1, 2**32 - 1)[int(draw.integers(4))]
    return [header.SerializeToString(), *messages[1:]]


def _more(messages: list[bytes], draw: np.random.Generator) -> list[bytes]:
    """Something after the end."""
    return [*messages, messages[1]]


UPLOADS: tuple[Upload, ...] = (
    *(_no_header, _two_headers, _shuffled, _gap, _twice, _digest),
    *(_size, _empty, _mask, _chunk_bytes, _more),
)


def broken_upload(target: Target, draw: np.random.Generator) -> str:
    """Messages that are no upload. Some may be answered before what is wrong has come: only `_more` can."""
    change = UPLOADS[int(draw.integers(len(UPLOADS)))]
    messages = change(_messages(target, draw), draw)
    with target.channel() as channel:
        try:
            for _ in channel.stream_stream(STREAM)(iter(messages), timeout=CALL_S):
                pass
        except grpc.RpcError as error:
            return judged(error, REFUSED, f"upload{change.__name__}")
    if change is not _more:
        raise FaultError(f"upload{change.__name__}: answered; expected a refusal")
    return "OK"


def half_closed_upload(target: Target, draw: np.random.Generator) -> str:
    """The client closes its side after some of the messages, and waits."""
    messages = _messages(target, draw)
    with target.channel() as channel:
        try:
            part = messages[: int(draw.integers(0, len(messages)))]
            for _ in channel.stream_stream(STREAM)(iter(part), timeout=CALL_S):
                pass
        except grpc.RpcError as error:
            return judged(error, REFUSED, "half-closed upload")
    raise FaultError("half-closed upload: answered; expected a refusal")


def cancelled_upload(target: Target, draw: np.random.Generator) -> str:
    """Taken back, or its connection broken, somewhere between the first message and the last reply."""
    messages, stop = _messages(target, draw), float(draw.exponential(0.03))
    break_connection = bool(draw.integers(2))
    with target.channel() as channel:
        call = channel.stream_stream(STREAM)(iter(messages), timeout=CALL_S)
        time.sleep(stop)
        if not break_connection:
            call.cancel()
    return "CANCELLED"


def slow_upload(target: Target, draw: np.random.Generator) -> str:
    """A header, and then nothing for longer than the server waits, or chunks that drip."""
    messages, pause = _messages(target, draw), float(draw.uniform(0.5, UNREAD_S))

    def dripping() -> Iterator[bytes]:
        yield messages[0]
        time.sleep(pause)
        yield from messages[1:]

    with target.channel() as channel:
        try:
            for _ in channel.stream_stream(STREAM)(dripping(), timeout=CALL_S):
                pass
        except grpc.RpcError as error:
            return judged(error, REFUSED, "slow upload")
    return "OK"


def slow_reader(target: Target, draw: np.random.Generator) -> str:
    """Asks for the smallest chunks, reads none for a while, then all of them or none."""
    calls, pause = int(draw.integers(1, 5)), float(draw.uniform(0.2, UNREAD_S))
    with target.channel() as channel:
        open_ = [channel.stream_stream(STREAM)(iter(_messages(target, draw)), timeout=CALL_S) for _ in range(calls)]
        time.sleep(pause)
        for call in open_[: calls // 2]:
            try:
                for _ in call:
                    pass
            except grpc.RpcError as error:
                judged(error, REFUSED, "slow reader")
    return "CANCELLED"


def mixed_stream(target: Target, draw: np.random.Generator) -> str:
    """V2: good and bad requests on one stream; the bad ones have errors, the good ones answers, in order."""
    tensors = [one for one in target.good if one.method == callers.INFER]
    messages, good = list[bytes](), list[bool]()
    for _ in range(LETTERS):
        request = ModelInferRequest.FromString(tensors[int(draw.integers(len(tensors)))].messages[0])
        surely = bool(draw.integers(2)) and INFER_CHANGES[int(draw.integers(len(INFER_CHANGES)))](request, draw)
        messages.append(request.SerializeToString())
        good.append(not surely)
    stop = LETTERS if draw.integers(2) else int(draw.integers(LETTERS))
    with target.channel() as channel:
        call = channel.stream_stream(V2_STREAM)(iter(messages), timeout=CALL_S)
        try:
            replies = [ModelStreamInferResponse.FromString(data) for data in itertools.islice(call, stop)]
        except grpc.RpcError as error:
            return judged(error, REFUSED, "V2 stream")
        call.cancel()
    _check_stream(replies, good[:stop])
    return "OK"


def _check_stream(replies: Sequence[ModelStreamInferResponse], good: Sequence[bool]) -> None:
    """A bad request may not have an answer. A good one may be refused for want of room."""
    if len(replies) != len(good):
        raise FaultError(f"V2 stream: {len(replies)} replies to {len(good)} requests")
    for reply, right in zip(replies, good, strict=True):
        if not right and not reply.error_message:
            raise FaultError("V2 stream: a bad request was answered; expected an error")
