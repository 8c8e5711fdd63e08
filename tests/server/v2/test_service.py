"""The V2 protocol with the stock client over a real socket: every call that it has, and the codes of what is wrong."""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from lqhq.runtime.image_file import read_image_bytes
from lqhq.server.protos.inference_pb2 import ModelInferRequest
from lqhq.server.protos.inference_pb2_grpc import GRPCInferenceServiceStub

Refused = InferenceServerException
INVALID, UNIMPLEMENTED = "StatusCode.INVALID_ARGUMENT", "StatusCode.UNIMPLEMENTED"


@pytest.fixture(scope="module")
def client(served: Any) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(served.address) as client:
        yield client


def tensors(array: NDArray[Any]) -> list[triton.InferInput]:
    tensor = triton.InferInput("image", list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    return [tensor]


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def refused(call: Callable[[], Any], status: str, told: str = "") -> None:
    with pytest.raises(Refused) as caught:
        call()
    assert caught.value.status() == status
    assert told in caught.value.message()


def test_server_and_model_calls(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tiny")
    assert client.is_model_ready("tiny", "3")
    assert not client.is_model_ready("tiny", "4")
    assert not client.is_model_ready("none")
    assert client.get_server_metadata().name == "lqhq"
    metadata = client.get_model_metadata("tiny")
    assert (metadata.name, list(metadata.versions), metadata.inputs[0].name) == ("tiny", ["3"], "image")
    config = client.get_model_config("tiny").config
    batching = config.dynamic_batching
    assert (config.name, batching.priority_levels, batching.max_queue_delay_microseconds) == ("tiny", 3, 2000)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_infer(client: triton.InferenceServerClient, dtype: Any) -> None:
    image = np.random.default_rng(3).random((6, 8, 3)) * (1 if dtype == np.float32 else 255)
    options = {"seed": 2**63 - 1}  # more does not fit what the client sends
    result = client.infer("tiny", tensors(image.astype(dtype)), request_id="7", priority=1, parameters=options)
    found = result.as_numpy("image")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, image.astype(dtype).repeat(2, 0).repeat(2, 1))
    response = result.get_response()
    assert (response.id, response.model_name, response.model_version) == ("7", "tiny", "3")
    chosen = response.parameters
    assert (chosen["seed"].int64_param, chosen["schedule"].string_param) == (2**63 - 1, "fast")
    assert "prior" not in chosen


def test_infer_files(client: triton.InferenceServerClient, png: bytes, picture: NDArray[np.uint8]) -> None:
    result = client.infer("tiny", tensors(np.array([png], object)), parameters={"output_format": "tiff"})
    pixels = read_image_bytes(result.as_numpy("image")[0], name="result").pixels
    np.testing.assert_array_equal(pixels, picture.repeat(2, 0).repeat(2, 1))


def test_large_tensors(client: triton.InferenceServerClient) -> None:
    image = np.random.default_rng(5).integers(0, 256, (320, 300, 3), np.uint8)
    np.testing.assert_array_equal(client.infer("tiny", tensors(image)).as_numpy("image")[::2, ::2], image)


def test_what_is_wrong_has_its_status(client: triton.InferenceServerClient, picture: NDArray[np.uint8]) -> None:
    image = tensors(picture)
    wait = {"schedule": "wait"}
    refused(lambda: client.infer("none", image), "StatusCode.NOT_FOUND")
    refused(lambda: client.infer("bad", image), "StatusCode.UNAVAILABLE", "a damaged file")
    refused(lambda: client.infer("tiny", image, model_version="new"), INVALID, "model_version")
    refused(lambda: client.infer("tiny", tensors(picture.astype(np.float16))), INVALID, "input 'image'")
    refused(lambda: client.infer("tiny", image, parameters={"progress": True}), UNIMPLEMENTED, "ModelStreamInfer")
    refused(lambda: client.infer("tiny", image, parameters={"tiles": True}), UNIMPLEMENTED)
    refused(lambda: client.infer("tiny", image, parameters={"schedule": "full"}), "StatusCode.RESOURCE_EXHAUSTED")
    refused(lambda: client.infer("tiny", image, parameters=wait, client_timeout=0.2), "StatusCode.DEADLINE_EXCEEDED")
    refused(lambda: client.is_model_ready("tiny", "x"), INVALID, "model_version")
    refused(lambda: client.get_model_metadata("none"), "StatusCode.NOT_FOUND")
    refused(lambda: client.get_model_config("none"), "StatusCode.NOT_FOUND")


def test_faults_are_hidden_and_logged(served: Any, client: triton.InferenceServerClient, picture: Any) -> None:
    call = lambda: client.infer("tiny", tensors(picture), request_id="f-1", parameters={"schedule": "broken"})  # noqa: E731
    refused(call, "StatusCode.INTERNAL", "its log has the reason")
    assert served.logged[-1][1]["id"] == "f-1"


def test_async_infer(client: triton.InferenceServerClient, picture: NDArray[np.uint8]) -> None:
    came: queue.Queue[tuple[Any, Any]] = queue.Queue()
    client.async_infer("tiny", tensors(picture), lambda result, error: came.put((result, error)))
    result, error = came.get(timeout=5)
    assert error is None
    assert result.as_numpy("image").shape == (12, 16, 3)


def test_async_infer_cancelled(served: Any, client: triton.InferenceServerClient, picture: NDArray[np.uint8]) -> None:
    came: queue.Queue[tuple[Any, Any]] = queue.Queue()
    call = client.async_infer(
        "tiny",
        tensors(picture),
        lambda result, error: came.put((result, error)),
        request_id="c-1",
        parameters={"schedule": "wait"},
    )
    until(lambda: served.restoring.running == 1)
    call.cancel()
    assert came.get(timeout=5)[1].status() == "StatusCode.CANCELLED"
    until(lambda: "c-1" in served.restoring.cancelled and not served.answers)


def test_asyncio(served: Any, picture: NDArray[np.uint8]) -> None:
    async def ask() -> Any:
        async with triton_aio.InferenceServerClient(served.address) as client:
            return await asyncio.gather(*(client.infer("tiny", tensors(picture)) for _ in range(3)))

    for result in asyncio.run(ask()):
        np.testing.assert_array_equal(result.as_numpy("image")[::2, ::2], picture)


def test_a_slow_reader_of_a_unary_answer_is_cut_off(served: Any, picture: NDArray[np.uint8]) -> None:
    """Its task ends; what gRPC holds of the answer goes with the client."""
    request = ModelInferRequest(model_name="tiny", raw_input_contents=[picture.tobytes()])
    request.inputs.add(name="image", datatype="UINT8", shape=picture.shape)
    request.parameters["schedule"].string_param = "big"
    with grpc.insecure_channel(served.address, [("grpc.http2.bdp_probe", 0)]) as channel:
        # Asked for as a stream, so that the client's library does not read by itself.
        call = channel.unary_stream("/inference.GRPCInferenceService/ModelInfer", ModelInferRequest.SerializeToString)
        running = call(request)
        until(lambda: len(served.answers) == 1)
        until(lambda: not served.answers)
        running.cancel()


def test_statistics(client: triton.InferenceServerClient) -> None:
    (every,) = client.get_inference_statistics().model_stats
    (one,) = client.get_inference_statistics("tiny", "3").model_stats
    assert every == one
    assert (one.name, one.version, one.inference_count, one.execution_count) == ("tiny", "3", 2, 5)
    refused(lambda: client.get_inference_statistics("none"), "StatusCode.NOT_FOUND")


def test_repository(client: triton.InferenceServerClient) -> None:
    def listed() -> list[tuple[str, str, str]]:
        return [(one.name, one.version, one.state) for one in client.get_model_repository_index().models]

    before = listed()
    assert before == [("bad", "1", "UNAVAILABLE"), ("tiny", "3", "READY")]
    client.load_model("spare")
    assert ("spare", "1", "READY") in listed()
    client.unload_model("spare")
    assert listed() == before
    refused(lambda: client.load_model("none"), "StatusCode.NOT_FOUND")
    refused(lambda: client.load_model("spare", config="{}"), UNIMPLEMENTED, "comes with the request")


def test_what_is_not_offered(client: triton.InferenceServerClient) -> None:
    refused(lambda: client.get_system_shared_memory_status(), UNIMPLEMENTED, "shared memory")
    refused(lambda: client.register_system_shared_memory("r", "/r", 10), UNIMPLEMENTED)
    refused(lambda: client.unregister_system_shared_memory(), UNIMPLEMENTED)
    refused(lambda: client.get_cuda_shared_memory_status(), UNIMPLEMENTED)
    refused(lambda: client.register_cuda_shared_memory("r", b"", 0, 10), UNIMPLEMENTED)
    refused(lambda: client.unregister_cuda_shared_memory(), UNIMPLEMENTED)
    refused(lambda: client.get_trace_settings(), UNIMPLEMENTED)
    refused(lambda: client.update_trace_settings("tiny"), UNIMPLEMENTED)
    refused(lambda: client.get_log_settings(), UNIMPLEMENTED)
    refused(lambda: client.update_log_settings({}), UNIMPLEMENTED)


def test_a_method_that_is_planted_is_seen(served: Any) -> None:
    """Every method of the proto has an answer of ours: none falls back to the generated one, which says nothing."""
    with grpc.insecure_channel(served.address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        for method in ("TraceSetting", "LogSettings"):
            with pytest.raises(grpc.RpcError) as caught:
                getattr(stub, method)(ModelInferRequest())
            assert "Method not implemented" not in caught.value.details()


def test_messages_share_room(served: Any, client: triton.InferenceServerClient, picture: NDArray[np.uint8]) -> None:
    came: queue.Queue[tuple[Any, Any]] = queue.Queue()
    large = np.zeros((600, 500, 3), np.uint8)
    calls = [
        client.async_infer("tiny", tensors(large), lambda *ended: came.put(ended), parameters={"schedule": "wait"})
        for _ in range(3)
    ]
    until(lambda: served.restoring.running == 3)
    assert 2_700_000 < served.room.held < 2_800_000
    refused(lambda: client.infer("tiny", tensors(large)), "StatusCode.RESOURCE_EXHAUSTED", "messages: found")
    client.infer("tiny", tensors(picture))
    for call in calls:
        call.cancel()
    until(lambda: served.room.held == 0)
