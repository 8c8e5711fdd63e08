"""A server that runs, with what it takes to ask it: lqhq's own, and the peers with the same graph."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
from measuring.report import BENCHMARKS
from measuring.scene import scene

from lqhq.server.protos.inference_pb2 import ModelReadyRequest, ModelReadyResponse
from serving import callers
from serving.load import Connect
from serving.server_process import ServerProcess, free_port, lqhq_command

__all__ = [
    "MODEL",
    "PEERS",
    "Service",
    "Variant",
    "litserve_service",
    "lqhq_service",
    "mlserver_service",
    "model_ready",
]

PEERS = BENCHMARKS / "contenders/peers"
LARGEST = 2**31 - 1
MODEL = "restorer"  # what the peers call the model


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """`connect` makes a client's connection; `image_of` takes what was restored out of a reply."""

    name: str
    address: str
    note: str
    process: ServerProcess
    connect: Connect
    image_of: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """How a peer is run: the form of its messages, its worker processes, threads of ONNX Runtime in each."""

    form: str
    workers: int
    threads: int

    def __str__(self) -> str:
        return f"{self.form}, {self.workers} worker(s), {self.threads} thread(s) each"


@contextmanager
def lqhq_service(folder: Path, bundle: Path, requests: Sequence[bytes], variant: Variant) -> Iterator[Service]:
    """`lqhq serve` with one model named `restorer`, every setting but workers and threads at its default.

    The forms: "tensor" is the V2 protocol, "file" is lqhq.v1; `requests` are of that form.
    """
    port = free_port()
    devices = ["--device", "cpu"] * variant.workers
    command = lqhq_command(port, [f"{MODEL}={bundle}"], variant.threads, "--metrics-port", str(free_port()), *devices)
    address = f"127.0.0.1:{port}"
    method, image_of = {
        "tensor": (callers.INFER, callers.pixels_of),
        "file": (callers.RESTORE, callers.file_of),
    }[variant.form]
    with ServerProcess(command, folder / f"lqhq-{port}.log", lambda: model_ready(address)) as process:
        yield Service(
            name="lqhq",
            address=address,
            note=f"{'V2' if variant.form == 'tensor' else 'lqhq.v1'}, {variant}",
            process=process,
            connect=lambda: callers.GrpcCaller(address, method, requests),
            image_of=image_of,
        )


@contextmanager
def mlserver_service(environment: Path, folder: Path, bundle: Path, side: int, variant: Variant) -> Iterator[Service]:
    """`mlserver start`, with a custom runtime, over gRPC; without access logs, which `debug` would write."""
    port, model = free_port(), folder / f"mlserver-{variant.form}-{variant.workers}"
    model.mkdir()
    kind = {"bytes": "BytesModel", "tensor": "TensorModel"}[variant.form]
    extra = {"bundle": str(bundle), "side": side, "threads": variant.threads}
    settings = {
        "host": "127.0.0.1",
        "grpc_port": port,
        "http_port": free_port(),
        "metrics_port": free_port(),
        "debug": False,
        "parallel_workers": variant.workers,
        "grpc_max_message_length": LARGEST,
    }
    _write(model / "settings.json", settings)
    described = {"name": MODEL, "implementation": f"mlserver_model.{kind}", "parameters": {"extra": extra}}
    _write(model / "model-settings.json", described)
    make = callers.bytes_request if variant.form == "bytes" else callers.tensor_request
    image = scene(side, side)
    request = make(MODEL, image.tobytes() if variant.form == "bytes" else image)
    address = f"127.0.0.1:{port}"
    with ServerProcess(
        [environment / "bin/mlserver", "start", model],
        folder / f"{model.name}.log",
        lambda: model_ready(address),
        environment={"PYTHONPATH": str(PEERS), **_threads(variant.threads)},
        folder=model,
    ) as process:
        yield Service(
            address=address,
            name="MLServer" + (", UINT8 tensor" if variant.form == "tensor" else ""),
            note=f"V2, {variant}",
            process=process,
            connect=lambda: callers.GrpcCaller(address, callers.INFER, [request]),
            image_of=callers.pixels_of,
        )


@contextmanager
def litserve_service(environment: Path, folder: Path, bundle: Path, side: int, variant: Variant) -> Iterator[Service]:
    """A LitServer, over HTTP."""
    port, pixels = free_port(), scene(side, side).tobytes()
    make, kind = {
        "upload": (callers.form_request, f"multipart/form-data; boundary={callers.BOUNDARY}"),
        "json": (callers.json_request, "application/json"),
    }[variant.form]
    request = make(pixels)
    words = [environment / "bin/python", PEERS / "litserve_app.py", str(port), variant.form, bundle]
    with ServerProcess(
        [*words, str(side), str(variant.threads), str(variant.workers)],
        folder / f"litserve-{port}.log",
        lambda: _health(port),
        environment=_threads(variant.threads),
        folder=folder,
    ) as process:
        yield Service(
            name="LitServe",
            address=f"127.0.0.1:{port}",
            note=f"HTTP, {variant}",
            process=process,
            connect=lambda: callers.HttpCaller(port, "/predict", kind, [request]),
            image_of=lambda reply: reply,
        )


def _threads(count: int) -> Mapping[str, str]:
    return {"OMP_NUM_THREADS": str(count), "OPENBLAS_NUM_THREADS": str(count)}


def _write(path: Path, settings: Mapping[str, object]) -> None:
    path.write_text(json.dumps(settings), encoding="utf-8")


def model_ready(address: str) -> bool:
    """Whether a server of the V2 protocol at `address` says that `restorer` is ready."""
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelReady",
            request_serializer=ModelReadyRequest.SerializeToString,
            response_deserializer=ModelReadyResponse.FromString,
        )
        try:
            ready: bool = call(ModelReadyRequest(name=MODEL), timeout=5).ready
        except grpc.RpcError:
            return False
        return ready


def _health(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.client.OK
    finally:
        connection.close()
