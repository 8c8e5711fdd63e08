"""Both services over a real socket, with a restoration that enlarges by repeating pixels, at once or as it is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from grpc import aio
from numpy.typing import NDArray

from lqhq.runtime.bundle import Bundle, open_bundle
from lqhq.runtime.errors import EngineError
from lqhq.runtime.geometry import Box
from lqhq.runtime.image_file import ImageFile, read_image_bytes
from lqhq.runtime.image_write import encode_image
from lqhq.server.access.unary_reading import UnaryReadingInterceptor
from lqhq.server.batching.batch_key import Model
from lqhq.server.call_edge import CallEdge
from lqhq.server.config.serve_config import ServeConfig
from lqhq.server.message_room import MessageRoom
from lqhq.server.open_answers import OpenAnswers
from lqhq.server.picture_files import PictureFiles
from lqhq.server.protos.inference_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from lqhq.server.protos.lqhq_v1_pb2_grpc import add_RestorationServicer_to_server
from lqhq.server.restoring.ask import Accepted, Ask, Follower, Form, Outcome, Restored, Times
from lqhq.server.v1.service import RestorationService
from lqhq.server.v2.errors import OverloadError, UnavailableError, UnknownModelError
from lqhq.server.v2.infer import Inferring
from lqhq.server.v2.model_config import Serving
from lqhq.server.v2.requests import Limits
from lqhq.server.v2.service import InferenceService
from lqhq.server.v2.statistics import Counters, Duration

KINDS: dict[str, Any] = {"png": "PNG", "jpeg": "JPEG", "webp": "WebP", "tiff": "TIFF"}
SCALE = 2


def enlarged(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels.repeat(SCALE, 0).repeat(SCALE, 1)


def form_of(pixels: NDArray[Any]) -> Form:
    return Form(*pixels.shape, bit_depth=8 * pixels.dtype.itemsize)


@dataclass
class Enlarging:
    """Stands for `Restoring`. What it does besides enlarging, the request's schedule says.

    "wait": until it is cancelled. "later": a moment. "full": refuse. "broken": fail. "big": a result of noise.
    """

    asks: list[Ask] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    running: int = 0

    async def restore(self, ask: Ask, follower: Follower | None) -> Restored:
        self.asks.append(ask)
        self.running += 1
        try:
            return await self._restored(ask, follower)
        except asyncio.CancelledError:
            self.cancelled.append(ask.id)
            raise
        finally:
            self.running -= 1

    async def _restored(self, ask: Ask, follower: Follower | None) -> Restored:
        what = ask.options.schedule
        pixels = read_image_bytes(ask.image, name="image").pixels if isinstance(ask.image, bytes) else ask.image
        result = enlarged(pixels)
        if what == "full":
            wrong = {"found": "9 requests", "expected": "at most 8", "mend": "Try again."}
            raise OverloadError("queue", **wrong, retry_after_ms=250.4)
        if what == "broken":
            raise EngineError("/secret", found="a fault", expected="none", mend="None.")
        if follower:
            await follower.accepted(
                Accepted(id=ask.id, image=form_of(pixels), result=form_of(result), works=2, queue_s=0, run_s=0)
            )
            await self._follow(ask, follower, result)
        if what == "wait":
            await asyncio.sleep(600)
        if what == "later":
            await asyncio.sleep(0.15)
        if what == "big":
            result = np.random.default_rng(1).integers(0, 256, (1500, 1500, 3), np.uint8)
        image: Any = result
        if ask.delivery.format != "tensor":
            file = ImageFile(pixels=result)
            image = encode_image(KINDS[ask.delivery.format], file, quality=ask.delivery.quality)
        return Restored(image, outcome_for(ask, form_of(result)))

    async def _follow(self, ask: Ask, follower: Follower, result: NDArray[Any]) -> None:
        height, width, _ = result.shape
        for top in (0, height // 2):
            if ask.tiles:
                box = Box(top, 0, height // 2, width)
                await follower.tile(box, result[top : top + height // 2])
            if ask.progress:
                await follower.progress(1 if top == 0 else 2, 2, 0.5)


def outcome_for(ask: Ask, form: Form) -> Outcome:
    return Outcome(
        id=ask.id,
        model="tiny",
        version=3,
        bundle_sha256="ab" * 32,
        result=form,
        format=ask.delivery.format,
        schedule=ask.options.schedule or "fast",
        seed=ask.options.seed,
        tile=(32, 16),
        overlap=8,
        blend="final",
        rules="default",
        prior="",
        color_fix="none",
        precision="fp32",
        engine="onnx",
        device="cpu",
        works=2,
        times=Times(0.1, 0.2, 0.3, 0.4),
    )


@dataclass(frozen=True)
class Listed:
    """Stands for an `Entry`."""

    name: str
    version: int
    state: str
    reason: str = ""
    task: str = "restoration"
    scale: int = 1


class Shelf:
    """Stands for `Models`: "tiny" is ready, "bad" could not be opened, "spare" may be loaded."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self.entries = [Listed("tiny", 3, "READY"), Listed("bad", 1, "UNAVAILABLE", "a damaged file")]

    def index(self) -> list[Listed]:
        return list(self.entries)

    def ready(self, name: str, version: int) -> bool:
        return any((one.name, one.state) == (name, "READY") and version in (0, one.version) for one in self.entries)

    @contextmanager
    def lease(self, name: str, version: int) -> Iterator[Any]:
        found = [one for one in self.entries if one.name == (name or "tiny") and version in (0, one.version)]
        if not found:
            raise UnknownModelError("model", found=repr(name), expected="tiny", mend="List them.")
        if found[0].state != "READY":
            raise UnavailableError("model", found=found[0].reason, expected="one that is ready", mend="Mend it.")
        yield SimpleNamespace(
            name=found[0].name,
            version=found[0].version,
            key=Model(found[0].name, "3.1", "fp32", "onnx"),
            bundle=self._bundle,
            opened=SimpleNamespace(
                engine_version="1.0",
                precision="fp32",
                device="cpu",
                checked=SimpleNamespace(passed=True, cases=2, seconds=0.5),
            ),
            sha256="ab" * 32,
            verified=True,
            counters=SimpleNamespace(reading=lambda: COUNTERS),
        )

    async def load(self, name: str) -> None:
        if name != "spare":
            raise UnknownModelError("model", found=repr(name), expected="spare", mend="Put it there.")
        self.entries.append(Listed("spare", 1, "READY"))

    async def unload(self, name: str) -> None:
        self.entries = [one for one in self.entries if one.name != name]


COUNTERS = Counters(
    success=Duration(2, 20),
    queue=Duration(2, 1),
    compute_input=Duration(2, 2),
    compute_infer=Duration(2, 3),
    compute_output=Duration(2, 4),
    images=2,
    executions=5,
)


@dataclass
class Served:
    """A server that runs in a thread of its own."""

    address: str
    restoring: Enlarging
    shelf: Shelf
    answers: OpenAnswers
    room: MessageRoom
    logged: list[tuple[str, dict[str, Any]]]
    loop: asyncio.AbstractEventLoop

    def call(self, function: Callable[[], Any]) -> Any:
        """Run `function` on the server's loop."""

        async def run() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(5)


CONFIG = ServeConfig(bundles=("tiny",), idle_s=0.3, send_s=0.5, max_message_bytes=1 << 20, max_image_bytes=1 << 20)


async def _serve(bundle: Bundle, started: Callable[[Served, asyncio.Event], None]) -> None:
    logged: list[tuple[str, dict[str, Any]]] = []
    edge = CallEdge(send_s=CONFIG.send_s, log=lambda event, **fields: logged.append((event, fields)))
    restoring, shelf, answers, room = Enlarging(), Shelf(bundle), OpenAnswers(), MessageRoom(3 << 20)
    options = [("grpc.max_receive_message_length", CONFIG.max_message_bytes), ("grpc.max_send_message_length", -1)]
    with ThreadPoolExecutor(1) as pool:
        server, files = (
            aio.server(options=options, interceptors=[UnaryReadingInterceptor(1.0)]),
            PictureFiles(pool, pool),
        )
        shared: dict[str, Any] = {"edge": edge, "answers": answers, "room": room}
        v1 = RestorationService(shelf, restoring, CONFIG, **shared, files=files)
        add_RestorationServicer_to_server(v1, server)
        limits = Limits(max_pixels=CONFIG.max_pixels, max_file_bytes=CONFIG.max_image_bytes)
        serving = Serving(
            instances=1, gpus=(), priority_levels=3, default_priority=2, max_queue=256, batch_delay_s=0.002
        )
        inferring = Inferring(shelf, restoring, files, limits)
        v2 = InferenceService(shelf, inferring, serving, ready=lambda: not answers.draining, **shared)
        add_GRPCInferenceServiceServicer_to_server(v2, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        end = asyncio.Event()
        loop = asyncio.get_running_loop()
        started(Served(f"127.0.0.1:{port}", restoring, shelf, answers, room, logged, loop), end)
        await end.wait()
        await server.stop(None)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """Both services at one address, with the demo bundle's manifest."""
    ready: Future[tuple[Served, asyncio.Event]] = Future()
    bundle = open_bundle("demo")
    thread = threading.Thread(target=lambda: asyncio.run(_serve(bundle, lambda *what: ready.set_result(what))))
    thread.start()
    served, end = ready.result(10)
    yield served
    served.call(end.set)
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 256, (6, 8, 3), np.uint8)


@pytest.fixture
def png(picture: NDArray[np.uint8]) -> bytes:
    return encode_image("PNG", ImageFile(pixels=picture), quality=95)
