"""Connections that send messages made beforehand: a client's own work is the same few microseconds for every server."""

from __future__ import annotations

import base64
import http.client
import json
import struct
import time
from collections.abc import Sequence
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from lqhq.server.protos import lqhq_v1_pb2 as v1
from lqhq.server.protos.inference_pb2 import ModelInferRequest, ModelInferResponse

__all__ = [
    "BOUNDARY",
    "INFER",
    "RESTORE",
    "GrpcCaller",
    "HttpCaller",
    "bytes_request",
    "file_of",
    "form_request",
    "json_request",
    "pixels_of",
    "restore_request",
    "tensor_request",
]

INFER = "/inference.GRPCInferenceService/ModelInfer"
RESTORE = "/lqhq.v1.Restoration/Restore"
LARGEST = 2**31 - 1
BOUNDARY = "lqhq-benchmark-form"
CALL_S = 600.0
IDLE_S = 2.0  # HTTP servers close what is idle after some seconds, 5 by default in the one that is raced
Pixels = NDArray[np.uint8]


class GrpcCaller:
    """One HTTP/2 connection. Messages pass as bytes, so that nothing is encoded while the clock runs."""

    def __init__(self, address: str, method: str, requests: Sequence[bytes]) -> None:
        options = [
            ("grpc.max_send_message_length", LARGEST),
            ("grpc.max_receive_message_length", LARGEST),
            ("grpc.use_local_subchannel_pool", 1),  # or callers to one address share a connection
        ]
        self._channel, self._requests = grpc.insecure_channel(address, options), requests
        self._call = self._channel.unary_unary(method)
        grpc.channel_ready_future(self._channel).result(CALL_S)

    def call(self, index: int) -> bytes:
        reply: bytes = self._call(self._requests[index], timeout=CALL_S)
        return reply

    def close(self) -> None:
        self._channel.close()


class HttpCaller:
    """One kept-alive HTTP/1.1 connection, made anew before the server may have closed it."""

    def __init__(self, port: int, path: str, kind: str, requests: Sequence[bytes]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CALL_S)
        self._path, self._headers, self._requests = path, {"Content-Type": kind}, requests
        self._connection.connect()
        self._used_s = time.monotonic()

    def call(self, index: int) -> bytes:
        if time.monotonic() - self._used_s > IDLE_S:
            self._connection.close()
            self._connection.connect()
        self._connection.request("POST", self._path, self._requests[index], self._headers)
        reply = self._connection.getresponse()
        body = reply.read()
        if reply.status != http.client.OK:
            raise OSError(f"{self._path}: status {reply.status}: {body[:200]!r}")
        self._used_s = time.monotonic()
        return body

    def close(self) -> None:
        self._connection.close()


def tensor_request(model: str, image: NDArray[Any], **parameters: int | str | bool) -> bytes:
    """A ModelInferRequest with `image` as a raw tensor of its own dtype."""
    names = {"uint8": "UINT8", "uint16": "UINT16", "float32": "FP32"}
    request = ModelInferRequest(model_name=model)
    request.inputs.add(name="image", datatype=names[image.dtype.name], shape=image.shape)
    request.raw_input_contents.append(image.tobytes())
    for name, value in parameters.items():
        field = {bool: "bool_param", int: "int64_param", str: "string_param"}[type(value)]
        setattr(request.parameters[name], field, value)
    return bytes(request.SerializeToString())


def bytes_request(model: str, data: bytes) -> bytes:
    """A ModelInferRequest with one element of BYTES: its length, little-endian, and what it holds."""
    request = ModelInferRequest(model_name=model)
    request.inputs.add(name="image", datatype="BYTES", shape=[1])
    request.raw_input_contents.append(struct.pack("<I", len(data)) + data)
    return bytes(request.SerializeToString())


def form_request(data: bytes) -> bytes:
    """A multipart form (RFC 7578) with one file `image`."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="image"\r\n'
    kind = "Content-Type: application/octet-stream\r\n\r\n"
    return (head + kind).encode() + data + f"\r\n--{BOUNDARY}--\r\n".encode()


def json_request(data: bytes) -> bytes:
    """`{"image": base64}`."""
    return json.dumps({"image": base64.b64encode(data).decode("ascii")}).encode()


def restore_request(model: str, file: bytes) -> bytes:
    """A RestoreRequest of lqhq.v1: an image's file, every option at its default."""
    return bytes(v1.RestoreRequest(ask=v1.Ask(model=v1.ModelRef(name=model)), image=file).SerializeToString())


def pixels_of(reply: bytes) -> bytes:
    """The raw values of a ModelInferResponse's only output; of BYTES those of its only element."""
    response = ModelInferResponse.FromString(reply)
    data: bytes = response.raw_output_contents[0]
    return data[4:] if response.outputs[0].datatype == "BYTES" else data


def file_of(reply: bytes) -> bytes:
    """The image's file of a RestoreResponse."""
    file: bytes = v1.RestoreResponse.FromString(reply).image
    return file
