"""The whole server with the bundle that ships with lqhq: real sockets, a real worker process."""

from __future__ import annotations

import asyncio
import io
import os
import queue
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from lqhq.runtime.errors import LqhqError
from lqhq.runtime.image_file import ImageFile
from lqhq.runtime.image_write import encode_image
from lqhq.runtime.restorer import Restorer
from lqhq.server.app import App
from lqhq.server.config.serve_config import ServeConfig
from lqhq.server.logs.log import Log
from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.server.protos.lqhq_v1_pb2_grpc import RestorationStub

CONFIG = ServeConfig(bundles=("demo",), port=0, metrics_port=0, threads=1, memory=1 << 30, drain_s=5.0)
IMAGE = np.random.default_rng(2).integers(0, 256, (24, 32, 3), np.uint8)
LONG = {"tile": 16}  # of LARGE: thousands of tiles, seconds of work
LARGE = np.random.default_rng(3).integers(0, 256, (256, 256, 3), np.uint8)


@dataclass
class Running:
    """A server in a thread of its own."""

    address: str
    log: io.StringIO
    end: Callable[[], None]
    thread: threading.Thread

    @property
    def metrics(self) -> str:
        """The page."""
        (line,) = [line for line in self.log.getvalue().splitlines() if "metrics address=" in line]
        with urllib.request.urlopen(f"http://{line.partition('address=')[2]}/metrics", timeout=5) as page:
            text: str = page.read().decode()
        return text

    def value(self, series: str) -> float:
        """Of the series with exactly that name and labels; 0 for one that has not begun."""
        found = [line.split()[-1] for line in self.metrics.splitlines() if line.rpartition(" ")[0] == series]
        return float(*found)


def run(config: ServeConfig) -> Running:
    ready: Future[tuple[str, Callable[[], None]]] = Future()
    log = io.StringIO()

    async def serve() -> None:
        app, end, loop = App(config, Log(stream=log)), asyncio.Event(), asyncio.get_running_loop()
        try:
            address = await app.start()
            ready.set_result((address, lambda: loop.call_soon_threadsafe(end.set)))
            await end.wait()
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)
        finally:
            await app.stop(config.drain_s)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        address, end = ready.result(30)
    except LqhqError:
        thread.join(30)
        raise
    return Running(address, log, end, thread)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    running = run(CONFIG)
    yield running
    running.end()
    running.thread.join(30)
    assert not running.thread.is_alive()


@pytest.fixture
def client(server: Running) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(server.address) as client:
        yield client


@pytest.fixture(scope="module")
def restored() -> NDArray[Any]:
    """What the runtime makes of IMAGE."""
    with Restorer.open("demo", threads=1) as restorer:
        return restorer.restore(IMAGE)


def tensors(array: NDArray[Any]) -> list[triton.InferInput]:
    tensor = triton.InferInput("image", list(array.shape), "UINT8")
    tensor.set_data_from_numpy(array)
    return [tensor]


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def test_results_are_those_of_the_runtime(client: triton.InferenceServerClient, restored: NDArray[Any]) -> None:
    np.testing.assert_array_equal(client.infer("demo", tensors(IMAGE)).as_numpy("image"), restored)


def test_the_asynchronous_client(server: Running, restored: NDArray[Any]) -> None:
    """tritonclient's, for calls and for a stream."""

    async def asked() -> Any:
        yield {"model_name": "demo", "inputs": tensors(IMAGE), "request_id": "a", "parameters": {"progress": True}}

    async def run() -> None:
        async with triton_aio.InferenceServerClient(server.address) as client:
            assert await client.is_server_live()
            assert await client.is_model_ready("demo")
            result = await client.infer("demo", tensors(IMAGE))
            np.testing.assert_array_equal(result.as_numpy("image"), restored)
            events, last = [], None
            async for result, error in client.stream_infer(asked()):
                assert error is None
                parameters = result.get_response().parameters
                events.append(parameters["event"].string_param if "event" in parameters else "result")
                last = result
            assert events[-1] == "result"
            assert set(events[:-1]) <= {"progress"}
            assert last is not None
            np.testing.assert_array_equal(last.as_numpy("image"), restored)
            with pytest.raises(InferenceServerException, match="NOT_FOUND"):
                await client.infer("absent", tensors(IMAGE))

    asyncio.run(run())


def test_watching_a_model(server: Running, client: triton.InferenceServerClient) -> None:
    with grpc.insecure_channel(server.address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="demo"), timeout=30)
        assert next(watch).status == 1
        client.unload_model("demo")
        assert next(watch).status == 2
        client.load_model("demo")
        assert next(watch).status == 1
        watch.cancel()
    until(client.is_server_ready)


def test_the_other_protocol_gives_the_same_file(server: Running, restored: NDArray[Any]) -> None:
    with grpc.insecure_channel(server.address) as channel:
        request = pb.RestoreRequest(image=encode_image("PNG", ImageFile(pixels=IMAGE)))
        reply = RestorationStub(channel).Restore(request, timeout=10)
    assert reply.image == encode_image("PNG", ImageFile(pixels=restored))
    assert (reply.outcome.model, reply.outcome.version, reply.outcome.device) == ("demo", 1, "cpu")


def test_health_and_reflection(server: Running) -> None:
    with grpc.insecure_channel(server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "demo", "lqhq.v1.Restoration", "inference.GRPCInferenceService"):
            assert health.Check(health_pb2.HealthCheckRequest(service=name)).status == 1
        asking = reflection_pb2.ServerReflectionRequest(list_services="")
        (reply,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asking]))
        names = {service.name for service in reply.list_services_response.service}
    assert {"lqhq.v1.Restoration", "inference.GRPCInferenceService", "grpc.health.v1.Health"} <= names


def test_numbers_move_by_what_was_done(server: Running, client: triton.InferenceServerClient) -> None:
    success = 'nv_inference_request_success{model="demo",version="1"}'
    calls = 'lqhq_rpcs_total{method="/inference.GRPCInferenceService/ModelInfer",code="OK"}'
    before = server.value(success), server.value(calls)
    statistics = client.get_inference_statistics("demo").model_stats[0].inference_stats.success.count
    client.infer("demo", tensors(IMAGE))
    assert server.value(success) == before[0] + 1
    until(lambda: server.value(calls) == before[1] + 1)
    assert client.get_inference_statistics("demo").model_stats[0].inference_stats.success.count == statistics + 1


def test_cancel_frees_the_workers(server: Running, client: triton.InferenceServerClient) -> None:
    cancelled = 'nv_inference_request_failure{model="demo",version="1",reason="CANCELED"}'
    before, came = server.value(cancelled), queue.Queue[Any]()
    call = client.async_infer("demo", tensors(LARGE), lambda result, error: came.put(error), parameters=LONG)
    until(lambda: server.value("lqhq_queued_works") > 0)
    call.cancel()
    assert came.get(timeout=5).status() == "StatusCode.CANCELLED"
    until(lambda: server.value("lqhq_queued_works") == 0 and server.value("lqhq_reserved_bytes") == 0)
    assert server.value(cancelled) == before + 1


def test_unloading_lets_requests_end(server: Running, client: triton.InferenceServerClient) -> None:
    came = queue.Queue[Any]()
    image = LARGE[:64, :64]
    client.async_infer("demo", tensors(image), lambda result, error: came.put((result, error)), parameters=LONG)
    until(lambda: server.value("lqhq_queued_works") > 0)
    client.unload_model("demo")
    assert not client.is_model_ready("demo")
    assert not client.is_server_ready()
    with pytest.raises(InferenceServerException, match="UNAVAILABLE"):
        client.infer("demo", tensors(IMAGE))
    assert came.empty(), "the test is too slow to see anything"
    result, error = came.get(timeout=30)
    assert error is None
    assert result.as_numpy("image").shape == (256, 256, 3)
    client.load_model("demo")
    assert client.is_model_ready("demo")
    until(client.is_server_ready)


def test_a_killed_worker_is_replaced(
    server: Running, client: triton.InferenceServerClient, restored: NDArray[Any]
) -> None:
    (ready, *_) = [line for line in server.log.getvalue().splitlines() if "worker ready" in line]
    os.kill(int(ready.partition("pid=")[2]), signal.SIGKILL)
    np.testing.assert_array_equal(client.infer("demo", tensors(IMAGE)).as_numpy("image"), restored)
    assert server.value('lqhq_worker_losses_total{worker="cpu"}') == 1
    until(client.is_server_ready)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"bundles": ("demo", "x=/nothing/there")}, "nothing there"),
        ({"tls_cert": Path(__file__), "tls_key": Path(__file__)}, "tls_cert"),
        ({"token_file": Path("/nothing/there")}, "token_file"),
    ],
)
def test_what_cannot_begin_leaves_nothing(changes: dict[str, Any], told: str) -> None:
    threads = set(threading.enumerate())  # those of earlier tests may end at any time
    with pytest.raises(LqhqError, match=told):
        run(replace(CONFIG, **changes))
    until(lambda: threads.issuperset(threading.enumerate()))
