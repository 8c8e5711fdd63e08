"""A server of lqhq.v1 on a real socket that does as it is told: it fails, waits, breaks off and lies."""

# ruff: noqa: N802 - methods have the names of the proto

from __future__ import annotations

import hashlib
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import grpc
import pytest

from lqhq.server.protos import inference_pb2 as v2
from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.server.protos.inference_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from lqhq.server.protos.lqhq_v1_pb2_grpc import add_RestorationServicer_to_server

WAIT_S = 10.0  # for what must happen; a test that gets there has failed

Act = Callable[[grpc.ServicerContext], None]


class Fake:
    """Restores by turning the file's bytes round, `times` times over.

    `refuse` and `hold` decide what becomes of the next calls. `events` changes what a stream sends: it gets the true
    events, and gives those that are sent.
    """

    def __init__(self) -> None:
        self.acts: deque[Act] = deque()
        self.events: Callable[[list[pb.RestoreEvent]], Iterator[pb.RestoreEvent] | list[pb.RestoreEvent]] = list
        self.times, self.chunk_bytes, self.needs_mask = 1, 1000, False
        self.requests: list[pb.RestoreRequest] = []
        self.uploads: list[list[pb.RestoreUpload]] = []
        self.metadata: list[dict[str, Any]] = []
        self.calls = 0
        self.left, self.reached = threading.Event(), threading.Event()

    def refuse(self, code: grpc.StatusCode, details: str, *trailing: tuple[str, str], times: int = 1) -> None:
        """The next calls end with a status."""

        def act(context: grpc.ServicerContext) -> None:
            context.set_trailing_metadata(trailing)
            context.abort(code, details)

        self.acts.extend([act] * times)

    def hold(self) -> None:
        """The next call lasts until the client leaves it: `reached`, then `left`."""

        def act(context: grpc.ServicerContext) -> None:
            context.add_callback(self.left.set)
            self.reached.set()
            self.left.wait(WAIT_S)

        self.reached.clear()
        self.left.clear()
        self.acts.append(act)

    def restored(self, image: bytes) -> bytes:
        return image[::-1] * self.times

    def _begin(self, context: grpc.ServicerContext) -> None:
        self.calls += 1
        self.metadata.append(dict(context.invocation_metadata()))
        if self.acts:
            self.acts.popleft()(context)

    def Restore(self, request: pb.RestoreRequest, context: grpc.ServicerContext) -> pb.RestoreResponse:
        self._begin(context)
        self.requests.append(request)
        return pb.RestoreResponse(image=self.restored(request.image), outcome=pb.Outcome(model="fake", seed=7))

    def RestoreStream(
        self, uploads: Iterator[pb.RestoreUpload], context: grpc.ServicerContext
    ) -> Iterator[pb.RestoreEvent]:
        self._begin(context)
        came = list(uploads)
        self.uploads.append(came)
        image = b"".join(one.chunk.data for one in came if one.chunk.part == pb.PART_IMAGE)
        yield from self.events(self.true_events(came[0].header, self.restored(image)))

    def true_events(self, header: pb.UploadHeader, result: bytes) -> list[pb.RestoreEvent]:
        event = pb.RestoreEvent
        events = [event(accepted=pb.Accepted(works=2, queue_s=0.5, run_s=1.5))]
        if header.progress:
            events += [event(progress=pb.Progress(done=done, total=2, left_s=2 - done)) for done in (1, 2)]
        if header.tiles:
            events.append(event(tile=pb.Tile(box=pb.Box(top=1, left=2, height=3, width=4), image=b"PNG")))
        events.append(event(result=pb.ResultHeader(bytes=len(result), format=pb.IMAGE_FORMAT_PNG)))
        for start in range(0, len(result), self.chunk_bytes):
            events.append(event(chunk=pb.Chunk(offset=start, data=result[start : start + self.chunk_bytes])))
        done = pb.Done(sha256=hashlib.sha256(result).hexdigest(), outcome=pb.Outcome(model="fake", seed=7))
        return [*events, event(done=done)]

    def ListModels(self, request: pb.ListModelsRequest, context: grpc.ServicerContext) -> pb.ListModelsResponse:
        self._begin(context)
        ready = pb.ModelSummary(name="fake", version=3, state=pb.MODEL_STATE_READY, task="restoration", scale=1)
        failed = pb.ModelSummary(name="torn", version=1, state=pb.MODEL_STATE_FAILED, reason="a digest differs")
        return pb.ListModelsResponse(models=[ready] if request.ready else [ready, failed])

    def DescribeModel(
        self, request: pb.DescribeModelRequest, context: grpc.ServicerContext
    ) -> pb.DescribeModelResponse:
        self._begin(context)
        if request.model.name not in ("", "fake"):
            context.abort(grpc.StatusCode.NOT_FOUND, "model: found 'x'; expected 'fake'. Ask for another.")
        version = request.model.version or 3
        summary = pb.ModelSummary(name="fake", version=version, state=pb.MODEL_STATE_READY, task="restoration", scale=1)
        model = pb.Model(summary=summary, options=["seed", "tile"], needs_mask=self.needs_mask)
        return pb.DescribeModelResponse(model=model)

    def ServerMetadata(
        self, request: v2.ServerMetadataRequest, context: grpc.ServicerContext
    ) -> v2.ServerMetadataResponse:
        self._begin(context)
        return v2.ServerMetadataResponse(name="lqhq", version="1.2.3")

    def ServerReady(self, request: v2.ServerReadyRequest, context: grpc.ServicerContext) -> v2.ServerReadyResponse:
        self._begin(context)
        return v2.ServerReadyResponse(ready=False)

    def __getattr__(self, name: str) -> Any:
        if name[0].isupper():  # the rest of the V2 service, which no client of ours calls
            return lambda request, context: context.abort(grpc.StatusCode.UNIMPLEMENTED, name)
        raise AttributeError(name)


def start(fake: Fake, credentials: grpc.ServerCredentials | None = None) -> tuple[grpc.Server, str]:
    """A running server and its address."""
    server = grpc.server(ThreadPoolExecutor(8))
    add_RestorationServicer_to_server(fake, server)
    add_GRPCInferenceServiceServicer_to_server(fake, server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    return server, f"127.0.0.1:{port}"


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def address(fake: Fake) -> Iterator[str]:
    server, where = start(fake)
    yield where
    fake.left.set()
    server.stop(0).wait()


class Cutter:
    """Passes bytes on; the first connection ends after so many that came `down`, or went `up`."""

    def __init__(self, address: str, up: float, down: float) -> None:
        host, _, port = address.rpartition(":")
        self._behind, self._limits, self._first = (host, int(port)), {"up": up, "down": down}, True
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._behind)
            limits = self._limits if self._first else {"up": float("inf"), "down": float("inf")}
            self._first = False
            for source, sink, limit in ((near, far, limits["up"]), (far, near, limits["down"])):
                threading.Thread(target=self._pass, args=(source, sink, limit), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, limit: float) -> None:
        passed = 0
        with suppress(OSError):
            while (data := source.recv(65536)) and passed < limit:
                sink.sendall(data)
                passed += len(data)
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.fixture
def cut() -> Iterator[Callable[..., str]]:
    """`cut(address, up=..., after=...)`: another address of that server, whose first connection breaks off."""
    cutters: list[Cutter] = []

    def make(address: str, *, up: float = float("inf"), after: float = float("inf")) -> str:
        cutters.append(Cutter(address, up, after))
        return cutters[-1].address

    yield make
    for one in cutters:
        one.close()


@pytest.fixture(name="start")
def start_fixture() -> Callable[..., tuple[grpc.Server, str]]:
    """`start(fake, credentials)`: a running server and its address."""
    return start
