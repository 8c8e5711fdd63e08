"""V2 tensors into NumPy arrays and back. A request is hostile until its sizes have been checked.

Nothing is allocated before the bytes that came are known to be what datatype and shape promise: numbers that came raw
are views of the message, and what else is made is at most four times as large as what came.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lqhq.server.protos.inference_pb2 import InferTensorContents, ModelInferRequest
from lqhq.server.v2.datatypes import BY_DTYPE, DATATYPES
from lqhq.server.v2.errors import RequestError, UnsupportedError

__all__ = ["MAX_ELEMENTS", "MAX_INPUTS", "MAX_RANK", "MAX_STRINGS", "Tensor", "datatype_of", "raw_of", "read_tensors"]

MAX_INPUTS = 16  # a model here takes three
MAX_RANK = 8
MAX_ELEMENTS = 1 << 40  # far above any message; what NumPy can count, with room
MAX_STRINGS = 1024  # of one tensor: each costs a Python object, and a model here takes one
LENGTH = struct.Struct("<I")
SHARED = "shared_memory_"
RAW_ONLY = "raw_input_contents, the only way for this datatype"

Input = ModelInferRequest.InferInputTensor


class Tensor(NamedTuple):
    """A tensor of a request. `array` has its shape: numbers in their own dtype (BF16 as float32), BYTES as objects.

    Raw numbers are read-only views of the bytes that protobuf hands out.
    """

    name: str
    datatype: str
    array: NDArray[Any]


def read_tensors(request: ModelInferRequest) -> dict[str, Tensor]:
    """The inputs by name, in their order.

    Raises `RequestError` where they break the protocol, `UnsupportedError` for an input in shared memory.
    """
    inputs, blobs = request.inputs, request.raw_input_contents
    if len(inputs) > MAX_INPUTS:
        raise RequestError(
            "inputs", found=str(len(inputs)), expected=f"at most {MAX_INPUTS}", mend="Send what the model takes."
        )
    for tensor in inputs:
        _refuse_shared(tensor)
    if blobs:
        _check_slots(inputs, len(blobs))
    tensors: dict[str, Tensor] = {}
    for index, tensor in enumerate(inputs):
        if tensor.name in tensors:
            raise RequestError(_where(tensor), found="two of that name", expected="one", mend="Send each input once.")
        tensors[tensor.name] = _read(tensor, blobs[index] if blobs else None)
    return tensors


def _read(tensor: Input, blob: bytes | None) -> Tensor:
    where, shape = _where(tensor), tuple(tensor.shape)
    count = _count(where, shape)
    if tensor.datatype not in DATATYPES:
        raise RequestError(
            where,
            found=f"datatype {tensor.datatype[:40]!r}",
            expected=f"one of {', '.join(DATATYPES)}",
            mend="Name the datatype of the tensor as the protocol does.",
        )
    if tensor.datatype == "BYTES":
        if count > MAX_STRINGS:
            raise RequestError(
                where, found=f"{count} elements", expected=f"at most {MAX_STRINGS}", mend="Send fewer at a time."
            )
        array = _strings(where, count, blob, tensor.contents)
    elif blob is not None:
        array = _raw_numbers(where, tensor.datatype, count, blob)
    else:
        array = _typed_numbers(where, tensor.datatype, count, tensor.contents)
    return Tensor(tensor.name, tensor.datatype, array.reshape(shape))


def _where(tensor: Input) -> str:
    return f"input {tensor.name[:80]!r}"


def _refuse_shared(tensor: Input) -> None:
    for key in sorted(tensor.parameters):
        if key.startswith(SHARED):
            raise UnsupportedError(
                _where(tensor),
                found=f"parameter {key[:80]}",
                expected="the data in the request: shared memory is not offered",
                mend="Send the tensor with set_data_from_numpy, or in raw_input_contents.",
            )
        raise RequestError(
            _where(tensor),
            found=f"parameter {key[:80]!r}",
            expected="none: inputs take no parameters",
            mend="Options of the model are parameters of the request.",
        )


def _check_slots(inputs: Sequence[Input], blobs: int) -> None:
    """Raw contents are positional: one blob for each input, and no typed contents beside them."""
    for tensor in inputs:
        if tensor.HasField("contents"):
            raise RequestError(
                _where(tensor),
                found="contents beside raw_input_contents",
                expected="one or the other, for all inputs",
                mend="Send every input raw.",
            )
    if blobs != len(inputs):
        where = _where(inputs[blobs]) if blobs < len(inputs) else "raw_input_contents"
        raise RequestError(
            where,
            found=f"{blobs} blobs for {len(inputs)} inputs",
            expected="one blob for each input, in their order",
            mend="A tensor without elements has an empty blob.",
        )


def _count(where: str, shape: tuple[int, ...]) -> int:
    if len(shape) > MAX_RANK or any(side < 0 for side in shape):
        raise RequestError(
            where,
            found=f"shape {list(shape[: MAX_RANK + 1])}",
            expected=f"at most {MAX_RANK} axes, none negative",
            mend="Name the sides that the tensor has; -1 is for metadata only.",
        )
    if math.prod(max(1, side) for side in shape) > MAX_ELEMENTS:  # NumPy cannot count some shapes without elements
        raise RequestError(
            where, found=f"shape {list(shape)}", expected=f"at most {MAX_ELEMENTS} elements", mend="Send less."
        )
    return math.prod(shape)


def _raw_numbers(where: str, datatype: str, count: int, blob: bytes) -> NDArray[Any]:
    dtype = DATATYPES[datatype].dtype
    if len(blob) != count * dtype.itemsize:
        raise RequestError(
            where,
            found=f"{len(blob)} bytes",
            expected=f"{count * dtype.itemsize}: {count} x {dtype.itemsize} for {datatype}",
            mend="Shape, datatype and bytes must agree.",
        )
    if datatype == "BOOL":
        flags = np.frombuffer(blob, np.uint8)
        if flags.size and flags.max() > 1:
            raise RequestError(where, found=f"a byte {flags.max()}", expected="0 or 1", mend="Send UINT8 instead.")
        return flags.view(np.bool_)
    numbers = np.frombuffer(blob, dtype)
    return numbers if datatype != "BF16" else (numbers.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _typed_numbers(where: str, datatype: str, count: int, contents: InferTensorContents) -> NDArray[Any]:
    field = _typed_field(where, datatype, count, contents)
    values = getattr(contents, field)
    wide = {"int_contents": np.dtype(np.int32), "uint_contents": np.dtype(np.uint32)}
    dtype = DATATYPES[datatype].dtype
    numbers = np.fromiter(values, wide.get(field, dtype), count)
    if field in wide and count:
        bounds = np.iinfo(dtype)
        low, high = int(numbers.min()), int(numbers.max())
        if low < bounds.min or high > bounds.max:
            raise RequestError(
                where,
                found=f"values from {low} to {high}",
                expected=f"{bounds.min} to {bounds.max} for {datatype}",
                mend="Name the datatype that the values have.",
            )
    return numbers.astype(dtype, copy=False)


def _typed_field(where: str, datatype: str, count: int, contents: InferTensorContents) -> str:
    """The field that holds all `count` elements, and is the only one that holds any."""
    field = DATATYPES[datatype].contents
    if field is None:
        raise RequestError(where, found=f"{datatype} without raw contents", expected=RAW_ONLY, mend="Send it raw.")
    for other in sorted({kind.contents for kind in DATATYPES.values() if kind.contents} - {field}):
        if len(getattr(contents, other)):
            raise RequestError(
                where, found=other, expected=f"{field}, which is that of {datatype}", mend="Send the tensor raw."
            )
    if len(getattr(contents, field)) != count:
        raise RequestError(
            where,
            found=f"{len(getattr(contents, field))} elements in {field}",
            expected=f"{count}, as the shape says",
            mend="Shape and contents must agree; or send the tensor raw.",
        )
    return field


def _strings(where: str, count: int, blob: bytes | None, contents: InferTensorContents) -> NDArray[np.object_]:
    array = np.empty(count, object)
    if blob is None:
        _typed_field(where, "BYTES", count, contents)
        array[:] = list(contents.bytes_contents)
        return array
    position = 0
    for index in range(count):
        start = position + LENGTH.size
        length = LENGTH.unpack_from(blob, position)[0] if start <= len(blob) else 0
        position = start + length
        if position > len(blob):
            raise RequestError(
                where,
                found=f"element {index} reaching to byte {position} of {len(blob)}",
                expected=f"{count} elements of four bytes of length and as many bytes",
                mend="BYTES travel with a little-endian length before each element.",
            )
        array[index] = blob[start:position]
    if position != len(blob):
        raise RequestError(
            where,
            found=f"{len(blob)} bytes",
            expected=f"{position}: the shape says {count} elements",
            mend="Shape and bytes must agree.",
        )
    return array


def datatype_of(array: NDArray[Any]) -> str:
    """The datatype that `array` travels as; objects are BYTES. `KeyError` for a dtype that the protocol lacks."""
    return BY_DTYPE[array.dtype.newbyteorder("<")]


def raw_of(array: NDArray[Any]) -> bytes:
    """The raw contents of `array`: little-endian and row-major; of objects, which are bytes, each with its length."""
    if array.dtype == object:
        return b"".join(part for value in array.flat for part in (LENGTH.pack(len(value)), value))
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
