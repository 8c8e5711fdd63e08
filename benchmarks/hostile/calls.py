"""Attacks by single calls: wrong messages, noise, too much, deadlines that have passed, calls that are taken back."""

from __future__ import annotations

import time

import grpc
import numpy as np
from serving import callers

from hostile.infer_mutants import INFER_CHANGES, broken_files
from hostile.restore_mutants import RESTORE_CHANGES
from hostile.target import CALL_S, Good, Target
from hostile.verdict import REFUSED, FaultError, judged
from lqhq.server.protos import lqhq_v1_pb2 as v1
from lqhq.server.protos.inference_pb2 import ModelInferRequest

__all__ = ["broken_image", "cancelled", "flipped_bytes", "late", "oversized", "wrong_infer", "wrong_restore"]

METHODS = (
    *(
        f"/inference.GRPCInferenceService/{name}"
        for name in ("ModelInfer", "ModelMetadata", "ModelConfig", "ModelReady")
    ),
    *(f"/inference.GRPCInferenceService/{name}" for name in ("ModelStatistics", "RepositoryIndex", "TraceSetting")),
    *(f"/lqhq.v1.Restoration/{name}" for name in ("Restore", "ListModels", "DescribeModel", "NoSuchMethod")),
    *("/grpc.health.v1.Health/Check", "/no.such.Service/Call", "/"),
)
GIVEN_UP = frozenset({*REFUSED, grpc.StatusCode.CANCELLED})
FLIPS = 6


def _send(target: Target, channel: grpc.Channel, method: str, message: bytes) -> None:
    channel.unary_unary(method)(message, timeout=CALL_S)


def _unary(target: Target, draw: np.random.Generator) -> Good:
    good = [one for one in target.good if not one.streamed]
    return good[int(draw.integers(len(good)))]


def wrong_infer(target: Target, draw: np.random.Generator) -> str:
    """A V2 request with one to three things wrong."""
    tensors = [one for one in target.good if one.method == callers.INFER]
    request = ModelInferRequest.FromString(tensors[int(draw.integers(len(tensors)))].messages[0])
    change = INFER_CHANGES[int(draw.integers(len(INFER_CHANGES)))]
    surely = change(request, draw)
    return _refused(target, callers.INFER, request.SerializeToString(), surely, f"V2{change.__name__}")


def wrong_restore(target: Target, draw: np.random.Generator) -> str:
    """The same of lqhq.v1."""
    files = [one for one in target.good if one.method == callers.RESTORE]
    request = v1.RestoreRequest.FromString(files[int(draw.integers(len(files)))].messages[0])
    change = RESTORE_CHANGES[int(draw.integers(len(RESTORE_CHANGES)))]
    surely = change(request, draw)
    return _refused(target, callers.RESTORE, request.SerializeToString(), surely, f"v1{change.__name__}")


def broken_image(target: Target, draw: np.random.Generator) -> str:
    """A file that is no image, by the V2 protocol."""
    files = [one for one in target.good if one.method == callers.RESTORE]
    file = v1.RestoreRequest.FromString(files[int(draw.integers(len(files)))].messages[0]).image
    message = callers.bytes_request(target.model, broken_files(draw, file))
    return _refused(target, callers.INFER, message, True, "V2 broken file")


def _refused(target: Target, method: str, message: bytes, surely: bool, what: str) -> str:
    with target.channel() as channel:
        try:
            _send(target, channel, method, message)
        except grpc.RpcError as error:
            return judged(error, REFUSED, what)
    if surely:
        raise FaultError(f"{what}: answered; expected a refusal")
    return "OK"


def flipped_bytes(target: Target, draw: np.random.Generator) -> str:
    """Noise, or a good message with bytes flipped, cut or doubled, to a method that may have another message."""
    data = bytearray(_unary(target, draw).messages[0])
    kind = int(draw.integers(4))
    if kind == 0:
        data = bytearray(draw.integers(0, 256, int(draw.integers(0, 2000)), dtype=np.uint8))
    elif kind == 1:
        data = data[: int(draw.integers(len(data)))]
    elif kind == 2:
        data += data[int(draw.integers(len(data))) :]
    else:
        for at in draw.integers(0, min(len(data), 200), FLIPS):  # the head: the rest is pixels
            data[int(at)] ^= 1 << int(draw.integers(8))
    method = METHODS[int(draw.integers(len(METHODS)))]
    with target.channel() as channel:
        try:
            _send(target, channel, method, bytes(data))
        except grpc.RpcError as error:
            return judged(error, REFUSED, f"noise to {method}")
    return "OK"


def oversized(target: Target, draw: np.random.Generator) -> str:
    """A message beyond the server's limit, half of them of the V2 protocol with a size that fits its shape."""
    size = target.largest + int(draw.integers(1, target.largest))
    if draw.integers(2):
        side = int((size / 3) ** 0.5) + 1
        method, message = callers.INFER, callers.tensor_request(target.model, np.zeros((side, side, 3), np.uint8))
    else:
        method, message = callers.RESTORE, callers.restore_request(target.model, bytes(size))
    with target.channel() as channel:
        try:
            _send(target, channel, method, message)
        except grpc.RpcError as error:
            return judged(error, {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT}, "oversized")
    raise FaultError(f"a message of {size} bytes was answered; the limit is {target.largest}")


def late(target: Target, draw: np.random.Generator) -> str:
    """A good request whose deadline is a few milliseconds away."""
    good = _unary(target, draw)
    with target.channel() as channel:
        try:
            channel.unary_unary(good.method)(good.messages[0], timeout=float(draw.exponential(0.01)) + 1e-4)
        except grpc.RpcError as error:
            return judged(error, REFUSED, f"late {good.name}")
    return "OK"


def cancelled(target: Target, draw: np.random.Generator) -> str:
    """Up to twelve good requests on one connection, all taken back after a few milliseconds."""
    with target.channel() as channel:
        calls = []
        for _ in range(int(draw.integers(1, 13))):
            good = _unary(target, draw)
            calls.append(channel.unary_unary(good.method).future(good.messages[0], timeout=CALL_S))
        time.sleep(float(draw.exponential(0.01)))
        for call in calls:
            call.cancel()
        for error in (call.exception() for call in calls if not call.cancelled()):
            if error is not None:
                judged(error, GIVEN_UP, "cancelled")
    return "CANCELLED"
