"""Streams of the stock client: order, one bad among good ones, progress and tiles, bounds, cancel."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from numpy.typing import NDArray

from lqhq.server.protos.inference_pb2 import ModelInferRequest
from lqhq.server.protos.inference_pb2_grpc import GRPCInferenceServiceStub
from lqhq.server.v2.stream import MAX_IN_FLIGHT

Replies = queue.Queue[tuple[Any, Any]]


@pytest.fixture
def stream(served: Any) -> Iterator[tuple[triton.InferenceServerClient, Replies]]:
    came: Replies = queue.Queue()
    with triton.InferenceServerClient(served.address) as client:
        client.start_stream(lambda result, error: came.put((result, error)))
        yield client, came
        client.stop_stream()


@pytest.fixture
def tensors(picture: NDArray[np.uint8]) -> list[triton.InferInput]:
    tensor = triton.InferInput("image", list(picture.shape), "UINT8")
    tensor.set_data_from_numpy(picture)
    return [tensor]


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def request_of(picture: NDArray[np.uint8], id: str, **texts: str) -> ModelInferRequest:
    request = ModelInferRequest(model_name="tiny", id=id, raw_input_contents=[picture.tobytes()])
    request.inputs.add(name="image", datatype="UINT8", shape=picture.shape)
    for key, text in texts.items():
        request.parameters[key].string_param = text
    return request


def test_replies_come_in_order_of_the_requests(stream: Any, tensors: Any) -> None:
    client, came = stream
    client.async_stream_infer("tiny", tensors, request_id="a", parameters={"schedule": "later"})
    client.async_stream_infer("tiny", tensors, request_id="b")
    client.async_stream_infer("tiny", tensors, request_id="c")
    got = [came.get(timeout=5) for _ in range(3)]
    assert [result.get_response().id for result, _ in got] == ["a", "b", "c"]
    assert all(result.get_response().parameters["triton_final_response"].bool_param for result, _ in got)


def test_one_bad_request_among_good_ones(stream: Any, tensors: Any) -> None:
    client, came = stream
    client.async_stream_infer("tiny", tensors, request_id="a")
    client.async_stream_infer("tiny", tensors, request_id="b", parameters={"tile": 0})
    client.async_stream_infer("none", tensors, request_id="c")
    client.async_stream_infer("tiny", tensors, request_id="d")
    got = [came.get(timeout=5) for _ in range(4)]
    assert [error is None for _, error in got] == [True, False, False, True]
    assert "tile: found 0" in got[1][1].message()
    assert [result.get_response().id for result, error in got if error is None] == ["a", "d"]


def test_failures_say_whose_they_are(served: Any, picture: NDArray[np.uint8]) -> None:
    requests = [request_of(picture, "x", schedule="full"), request_of(picture, "y")]
    requests[1].model_version = "nonsense"
    with grpc.insecure_channel(served.address) as channel:
        full, nonsense = GRPCInferenceServiceStub(channel).ModelStreamInfer(iter(requests), timeout=5)
    assert (full.infer_response.id, full.infer_response.model_name) == ("x", "tiny")
    assert full.error_message.startswith("queue: found 9 requests")
    assert full.infer_response.parameters["retry_after_ms"].int64_param == 250
    assert full.infer_response.parameters["triton_final_response"].bool_param
    assert (nonsense.infer_response.id, nonsense.infer_response.model_version) == ("y", "")


def test_the_first_failure_ends_a_strict_stream(served: Any, picture: NDArray[np.uint8]) -> None:
    requests = [request_of(picture, "a", schedule="later"), request_of(picture, "b", schedule="full")]
    with grpc.insecure_channel(served.address) as channel:
        strict = [("triton_grpc_error", "true")]
        call = GRPCInferenceServiceStub(channel).ModelStreamInfer(lasting(requests), timeout=5, metadata=strict)
        assert next(call).infer_response.id == "a"
        with pytest.raises(grpc.RpcError) as caught:
            next(call)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(caught.value.trailing_metadata())["retry-after-ms"] == "250"


def lasting(requests: list[ModelInferRequest]) -> Iterator[ModelInferRequest]:
    """The requests, and then nothing: no half-close."""
    yield from requests
    time.sleep(1.0)


def test_progress_and_tiles(stream: Any, tensors: Any, picture: NDArray[np.uint8]) -> None:
    client, came = stream
    client.async_stream_infer("tiny", tensors, request_id="p", parameters={"progress": True, "tiles": True})
    got = [came.get(timeout=5)[0] for _ in range(5)]
    parameters = [result.get_response().parameters for result in got]
    assert [one["event"].string_param for one in parameters[:4]] == ["tile", "progress", "tile", "progress"]
    assert [one["triton_final_response"].bool_param for one in parameters] == [False] * 4 + [True]
    whole = picture.repeat(2, 0).repeat(2, 1)
    for result, one in ((got[0], parameters[0]), (got[2], parameters[2])):
        top, height = one["top"].int64_param, one["height"].int64_param
        np.testing.assert_array_equal(result.as_numpy("image"), whole[top : top + height])
    assert (parameters[3]["done"].int64_param, parameters[3]["total"].int64_param) == (2, 2)
    np.testing.assert_array_equal(got[4].as_numpy("image"), whole)


def test_tiles_are_files_where_the_result_is(stream: Any, tensors: Any) -> None:
    client, came = stream
    client.async_stream_infer("tiny", tensors, parameters={"tiles": True, "output_format": "png"})
    got = [came.get(timeout=5)[0].as_numpy("image")[0] for _ in range(3)]
    assert all(file.startswith(b"\x89PNG") for file in got)


def test_few_are_in_flight(served: Any, picture: NDArray[np.uint8]) -> None:
    before = len(served.restoring.asks)
    requests = [request_of(picture, str(index), schedule="wait") for index in range(MAX_IN_FLIGHT + 3)]
    with grpc.insecure_channel(served.address) as channel:
        call = GRPCInferenceServiceStub(channel).ModelStreamInfer(lasting(requests))
        until(lambda: served.restoring.running == MAX_IN_FLIGHT)
        time.sleep(0.1)
        assert len(served.restoring.asks) - before == MAX_IN_FLIGHT
        call.cancel()
    until(lambda: served.restoring.running == 0 and not served.answers)


def test_a_half_closed_stream_is_answered(served: Any, picture: NDArray[np.uint8]) -> None:
    with grpc.insecure_channel(served.address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        replies = list(stub.ModelStreamInfer(iter([request_of(picture, "h", schedule="later")]), timeout=5))
        assert [reply.infer_response.id for reply in replies] == ["h"]
        assert list(stub.ModelStreamInfer(iter([]), timeout=5)) == []


def test_a_slow_reader_is_cut_off(served: Any, picture: NDArray[np.uint8]) -> None:
    requests = [request_of(picture, str(index), schedule="big") for index in range(3)]
    with grpc.insecure_channel(served.address, [("grpc.http2.bdp_probe", 0)]) as channel:
        call = GRPCInferenceServiceStub(channel).ModelStreamInfer(lasting(requests))
        until(lambda: len(served.answers) > 0)
        until(lambda: not served.answers)
        call.cancel()


def test_what_is_no_message_is_the_callers_fault(served: Any) -> None:
    with grpc.insecure_channel(served.address) as channel:
        method = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
        call = method(iter([b"\x0a\xff\xff"]), timeout=5)
        assert call.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert call.details().startswith("message: found bytes that cannot be read")
