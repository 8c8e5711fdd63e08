"""Tensors go both ways unchanged, and whatever is wrong with one is our error, told before memory is taken."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from tritonclient.grpc import InferInput

from lqhq.server.protos.inference_pb2 import InferTensorContents, ModelInferRequest
from lqhq.server.v2 import tensors
from lqhq.server.v2.datatypes import DATATYPES
from lqhq.server.v2.errors import RequestError, UnsupportedError
from lqhq.server.v2.tensors import MAX_INPUTS, MAX_STRINGS, datatype_of, raw_of, read_tensors

NUMERIC = [name for name in DATATYPES if name not in ("BYTES", "BF16")]
TYPED = [name for name in NUMERIC if DATATYPES[name].contents]
shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)


def arrays(name: str) -> st.SearchStrategy[NDArray[Any]]:
    return hnp.arrays(DATATYPES[name].dtype, shapes)


def request(*inputs: tuple[str, str, tuple[int, ...]], raw: list[bytes] | None = None) -> ModelInferRequest:
    message = ModelInferRequest(raw_input_contents=raw or [])
    for name, datatype, shape in inputs:
        message.inputs.add(name=name, datatype=datatype, shape=shape)
    return message


def typed(datatype: str, shape: tuple[int, ...], **contents: Any) -> ModelInferRequest:
    message = request(("x", datatype, shape))
    message.inputs[0].contents.CopyFrom(InferTensorContents(**contents))
    return message


def stock(array: NDArray[Any], datatype: str) -> ModelInferRequest:
    """`array` as the stock client sends it."""
    tensor = InferInput("x", list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    sent = ModelInferRequest.InferInputTensor.FromString(tensor._get_tensor().SerializeToString())
    return ModelInferRequest(inputs=[sent], raw_input_contents=[tensor._get_content()])


@settings(deadline=None, max_examples=10)
@given(data=st.data())
@pytest.mark.parametrize("name", NUMERIC)
def test_raw_round_trip(name: str, data: st.DataObject) -> None:
    array = data.draw(arrays(name))
    got = read_tensors(request(("x", name, array.shape), raw=[raw_of(array)]))["x"]
    assert (got.datatype, datatype_of(got.array)) == (name, name)
    assert got.array.shape == array.shape
    assert got.array.tobytes() == array.tobytes()


@settings(deadline=None, max_examples=10)
@given(data=st.data())
@pytest.mark.parametrize("name", TYPED)
def test_typed_round_trip(name: str, data: st.DataObject) -> None:
    array = data.draw(arrays(name))
    field = DATATYPES[name].contents
    assert field is not None
    got = read_tensors(typed(name, array.shape, **{field: array.ravel().tolist()}))["x"]
    assert got.array.dtype == array.dtype
    np.testing.assert_array_equal(got.array, array)


@settings(deadline=None)
@given(values=st.lists(st.binary(max_size=9), max_size=6))
def test_strings_round_trip(values: list[bytes]) -> None:
    array = np.empty(len(values), object)
    for index, value in enumerate(values):
        array[index] = value
    shape = (len(values),)
    raw = read_tensors(request(("x", "BYTES", shape), raw=[raw_of(array)]))["x"].array
    assert raw.tolist() == values
    assert read_tensors(typed("BYTES", shape, bytes_contents=values))["x"].array.tolist() == values


@pytest.mark.parametrize("name", [*NUMERIC, "BYTES"])
def test_the_stock_client_is_read(name: str) -> None:
    rng = np.random.default_rng(3)
    numbers = rng.integers(0, 2, (2, 3)).astype(DATATYPES[name].dtype)
    array = np.array([[b"a\0", b""], [b"\xff", b"ij"]], object) if name == "BYTES" else numbers
    np.testing.assert_array_equal(read_tensors(stock(array, name))["x"].array, array)


def test_bf16_of_the_stock_client_is_read_as_float32() -> None:
    array = np.array([1.5, -2.0, np.inf, 3e38], ml_dtypes.bfloat16)
    got = read_tensors(stock(array, "BF16"))["x"].array
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, array.astype(np.float32))


def test_raw_numbers_are_not_copied_again() -> None:
    assert not read_tensors(request(("x", "UINT8", (3,)), raw=[b"abc"]))["x"].array.flags.owndata


def test_raw_contents_are_positional() -> None:
    two = request(("a", "UINT8", (2,)), ("b", "UINT8", (0,)), ("c", "UINT8", (1,)), raw=[b"12", b"", b"3"])
    assert {name: got.array.tolist() for name, got in read_tensors(two).items()} == {"a": [49, 50], "b": [], "c": [51]}


def mixed() -> ModelInferRequest:
    message = request(("a", "UINT8", (1,)), ("x", "UINT8", (1,)), raw=[b"1"])
    message.inputs[1].contents.uint_contents.append(1)
    return message


def shared() -> ModelInferRequest:
    message = request(("a", "UINT8", (1,)), ("x", "UINT8", (1,)), raw=[b"1"])
    message.inputs[1].parameters["shared_memory_region"].string_param = "r"
    return message


def parametrised() -> ModelInferRequest:
    message = request(("x", "UINT8", (1,)), raw=[b"1"])
    message.inputs[0].parameters["seed"].int64_param = 1
    return message


WRONG = {
    "one byte short": (request(("x", "FP32", (2,)), raw=[b"1234567"]), "7 bytes; expected 8"),
    "one byte long": (request(("x", "UINT16", (2,)), raw=[b"12345"]), "5 bytes; expected 4"),
    "sides that overflow": (request(("x", "UINT8", (2**63 - 1,) * 8), raw=[b""]), "at most"),
    "sides that overflow to nothing": (request(("x", "UINT8", (2**32, 2**32)), raw=[b""]), "at most"),
    "sides beside an empty one": (request(("x", "UINT8", (0, 2**62, 2**62)), raw=[b""]), "at most"),
    "a large tensor": (request(("x", "FP64", (2**20, 2**19)), raw=[b"1"]), "1 bytes; expected 4398046511104"),
    "a negative side": (request(("x", "UINT8", (-1, -1)), raw=[b"1"]), "none negative"),
    "many axes": (request(("x", "UINT8", (1,) * 9), raw=[b"1"]), "at most 8 axes"),
    "unknown datatype": (request(("x", "UINT4", (1,)), raw=[b"1"]), "datatype 'UINT4'"),
    "a flag of 2": (request(("x", "BOOL", (2,)), raw=[b"\1\2"]), "a byte 2"),
    "mixed": (mixed(), "contents beside raw_input_contents"),
    "a missing blob": (request(("a", "UINT8", (1,)), ("x", "UINT8", (1,)), raw=[b"1"]), "1 blobs for 2"),
    "no data": (request(("x", "UINT8", (1,))), "0 elements in uint_contents"),
    "FP16 typed": (typed("FP16", (1,), fp32_contents=[1.0]), "FP16 without raw"),
    "BF16 typed": (typed("BF16", (1,), fp32_contents=[1.0]), "BF16 without raw"),
    "FP64 as floats": (typed("FP64", (1,), fp32_contents=[1.0]), "fp32_contents"),
    "UINT8 of 256": (typed("UINT8", (2,), uint_contents=[0, 256]), "from 0 to 256"),
    "INT8 of -129": (typed("INT8", (1,), int_contents=[-129]), "from -129"),
    "too few": (typed("INT32", (3,), int_contents=[1, 2]), "2 elements"),
    "an element too long": (
        request(("x", "BYTES", (1,)), raw=[struct.pack("<I", 9) + b"12345678"]),
        "to byte 13 of 12",
    ),
    "a length that lies": (request(("x", "BYTES", (1,)), raw=[b"\xff\xff\xff\xff1"]), "to byte 4294967299 of 5"),
    "half a length": (request(("x", "BYTES", (2,)), raw=[bytes(6)]), "element 1"),
    "left over": (request(("x", "BYTES", (1,)), raw=[bytes(5)]), "5 bytes; expected 4"),
    "many strings": (request(("x", "BYTES", (2**40,)), raw=[b""]), f"at most {MAX_STRINGS}"),
    "parameters": (parametrised(), "inputs take no parameters"),
    "twice": (request(("x", "UINT8", (1,)), ("x", "UINT8", (1,)), raw=[b"1", b"2"]), "two of that name"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_breaks_the_protocol_is_told_by_the_tensors_name(name: str) -> None:
    message, told = WRONG[name]
    with pytest.raises(RequestError, match="input 'x'") as caught:
        read_tensors(message)
    assert told in str(caught.value)


def test_more_blobs_than_inputs() -> None:
    with pytest.raises(RequestError, match="3 blobs for 1 inputs"):
        read_tensors(request(("x", "UINT8", (1,)), raw=[b"1", b"2", b"3"]))


def test_more_inputs_than_any_model_takes() -> None:
    with pytest.raises(RequestError, match=f"at most {MAX_INPUTS}"):
        read_tensors(request(*((str(index), "UINT8", (0,)) for index in range(MAX_INPUTS + 1))))


def test_shared_memory_is_not_offered() -> None:
    """Its input takes no blob: the request is told of that, not of the blobs that it rightly lacks."""
    with pytest.raises(UnsupportedError, match=r"input 'x'.*shared memory"):
        read_tensors(shared())


damaged_shapes = st.lists(st.one_of(st.integers(-2, 5), st.integers(-(2**63), 2**63 - 1)), max_size=10)
damaged_inputs = st.tuples(
    st.sampled_from(["x", "y", ""]), st.one_of(st.sampled_from(sorted(DATATYPES)), st.text(max_size=6)), damaged_shapes
)
ALLOWANCE = 200_000  # bytes: messages, errors and what hypothesis does meanwhile; nothing here is near it on purpose


def attempt(message: ModelInferRequest) -> None:
    """Read `message`; nothing but our errors may come, nor more memory than four times what was sent."""
    tracemalloc.start()
    try:
        read_tensors(message)
    except (RequestError, UnsupportedError):
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak <= ALLOWANCE + 4 * message.ByteSize()


@settings(deadline=None, max_examples=50)
@given(inputs=st.lists(damaged_inputs, max_size=4), raw=st.lists(st.binary(max_size=40), max_size=5))
def test_damaged_raw_requests_are_refused(inputs: list[Any], raw: list[bytes]) -> None:
    attempt(request(*inputs, raw=raw))


@settings(deadline=None, max_examples=50)
@given(data=st.data(), datatype=st.sampled_from(sorted(DATATYPES)), shape=damaged_shapes)
def test_damaged_typed_requests_are_refused(data: st.DataObject, datatype: str, shape: list[int]) -> None:
    fields = {
        "uint_contents": st.integers(0, 2**32 - 1),
        "int_contents": st.integers(-(2**31), 2**31 - 1),
        "fp32_contents": st.floats(width=32),
        "bytes_contents": st.binary(max_size=5),
    }
    contents = {
        name: data.draw(st.lists(kind, max_size=4)) for name, kind in fields.items() if data.draw(st.booleans())
    }
    attempt(typed(datatype, tuple(shape), **contents))


@settings(deadline=None, max_examples=50)
@given(data=st.binary(max_size=300))
def test_bytes_of_any_kind_are_refused(data: bytes) -> None:
    from google.protobuf.message import DecodeError

    try:
        message = ModelInferRequest.FromString(data)
    except DecodeError:
        return
    attempt(message)


def test_planted_trust_in_a_shape_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that makes room for what a shape promises must break the bound that the fuzzing holds."""

    def trusting(where: str, datatype: str, count: int, blob: bytes) -> NDArray[Any]:
        return np.zeros(min(count, 1 << 20), DATATYPES[datatype].dtype)

    monkeypatch.setattr(tensors, "_raw_numbers", trusting)
    with pytest.raises(AssertionError):
        attempt(request(("x", "UINT8", (1 << 20,)), raw=[b"1"]))
