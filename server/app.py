"""The server put together: what it is made of, how it begins, how it ends."""

from __future__ import annotations

import asyncio
import gc
from contextlib import AsyncExitStack

from grpc import aio

from lqhq.runtime.machine import give_back
from lqhq.server.access.call_limit import CallLimitInterceptor
from lqhq.server.access.credentials import server_credentials
from lqhq.server.access.exposure import exposure
from lqhq.server.access.token_file import TokenFile
from lqhq.server.access.token_interceptor import TokenInterceptor
from lqhq.server.access.unary_reading import UnaryReadingInterceptor, time_to_begin
from lqhq.server.admission.ledger import Ledger
from lqhq.server.batching.cost_book import CostBook
from lqhq.server.call_edge import CallEdge
from lqhq.server.config.serve_config import ServeConfig, join_address
from lqhq.server.dispatch.dispatcher import Dispatcher
from lqhq.server.grpc_server import bound_server
from lqhq.server.health.board import HealthBoard
from lqhq.server.health.reflection import method_names
from lqhq.server.health.standard_services import add_standard_services
from lqhq.server.logs.log import Log
from lqhq.server.message_room import MessageRoom
from lqhq.server.metrics.metrics import Metrics
from lqhq.server.metrics.metrics_server import MetricsServer
from lqhq.server.metrics.rpc_interceptor import RpcMetricsInterceptor
from lqhq.server.models.batch_sizes import BatchSizes
from lqhq.server.models.models import Models
from lqhq.server.open_answers import OpenAnswers
from lqhq.server.picture_files import PictureFiles
from lqhq.server.protos.inference_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from lqhq.server.protos.lqhq_v1_pb2_grpc import add_RestorationServicer_to_server
from lqhq.server.restoring.limits import batching_of, limits_of
from lqhq.server.restoring.pixel_threads import PixelThreads
from lqhq.server.restoring.restoring import Restoring
from lqhq.server.v1.service import RestorationService
from lqhq.server.v2.infer import Inferring
from lqhq.server.v2.model_config import Serving
from lqhq.server.v2.requests import Limits
from lqhq.server.v2.service import InferenceService

__all__ = ["App"]

CALM_S = 2.0  # without a request, before memory is tidied up
LOOK_S = 0.25  # how soon watchers of health hear what became of workers
# To tell those that still come that the server ends; then for statuses on their way, watchers and idle streams.
LEAVE_S = 0.5
MESSAGE_SHARE = 4  # what came and is not let in may hold a quarter of what requests may


class App:
    """A server of one event loop. `start` once, then `stop` once, whether or not the start succeeded."""

    def __init__(self, config: ServeConfig, log: Log) -> None:
        self._config, self._log = config, log
        self._ends = AsyncExitStack()
        self._board = HealthBoard()
        self._answers = OpenAnswers()
        self._models: Models | None = None
        self._dispatcher: Dispatcher | None = None
        self._restoring: Restoring | None = None
        self._started = False

    @property
    def ready(self) -> bool:
        """The start is over, a model is served, every device has a worker, and the server does not end.

        A bundle of the model folder that failed does not keep the others back; one of the command line ends the start.
        """
        models, dispatcher = self._models, self._dispatcher
        if models is None or dispatcher is None or not self._started or self._answers.draining:
            return False
        return models.all_ready and dispatcher.ready

    async def start(self) -> str:
        """The address that it listens on, once all models were tried. Calls are answered before: it lives.

        Raises `OptionError` for an address or a file that cannot be used, and what is wrong with a bundle of the
        command line; what had begun is ended by `stop`.
        """
        config = self._config
        for remark in exposure(config):
            self._log("open", remark=remark)
        metrics = Metrics()
        server, port = bound_server(config, server_credentials(config, self._log), self._interceptors(metrics))
        self._ends.push_async_callback(server.stop, None)
        if config.metrics_port is not None:
            self._serve_metrics(metrics, config.host, config.metrics_port)
        models = await self._assemble(server, metrics)
        await server.start()
        await models.start()
        self._started = True
        looking = asyncio.create_task(self._look())
        self._ends.callback(looking.cancel)
        self._tell()
        return join_address(config.host, port)

    async def stop(self, drain_s: float) -> None:
        """Take nothing more, let accepted requests end within `drain_s`, cancel the others, end all workers."""
        self._answers.draining = True
        self._board.drain()
        if self._restoring is not None:
            self._restoring.drain()
        if self._answers:
            self._log("draining", requests=len(self._answers), seconds=drain_s)
        if not await self._answers.idle(drain_s):
            self._log("cancelling", requests=len(self._answers))
        elif self._started:
            await asyncio.sleep(LEAVE_S)  # gRPC itself would tell a call that it has not begun no more than CANCELLED
        await self._ends.aclose()

    async def _assemble(self, server: aio.Server, metrics: Metrics) -> Models:
        """Workers, models, restoration and the services over them; what was begun is ended in the other order."""
        config = self._config
        sizes, book, batching = BatchSizes(config.batch), CostBook(), batching_of(config)
        dispatcher = Dispatcher(
            config.devices, config=batching, sizes=sizes, book=book, observer=metrics, log=self._log
        )
        self._ends.push_async_callback(asyncio.to_thread, dispatcher.close)
        dispatcher.start()
        metrics.measure("queued_works", lambda: dispatcher.works)
        models = Models(dispatcher, config, metrics, self._log, sizes=sizes, changed=self._tell)
        self._ends.push_async_callback(models.close)
        threads = PixelThreads(config.decode_threads)
        self._ends.callback(threads.close)
        limits = limits_of(config)
        ledger = Ledger(limits)
        restoring = Restoring(
            models, dispatcher, ledger, book, config, metrics, self._log, pool=threads, batching=batching
        )
        self._models, self._dispatcher, self._restoring = models, dispatcher, restoring
        files, room = PictureFiles(threads.quick, threads.slow), MessageRoom(limits.bytes // MESSAGE_SHARE)
        self._add_services(server, models, restoring, files, room)
        # Last in, first out: calls end before what they need.
        self._ends.push_async_callback(server.stop, LEAVE_S)
        return models

    def _add_services(
        self, server: aio.Server, models: Models, restoring: Restoring, files: PictureFiles, room: MessageRoom
    ) -> None:
        config, answers = self._config, self._answers
        edge = CallEdge(send_s=config.send_s, log=self._log)
        add_RestorationServicer_to_server(
            RestorationService(models, restoring, config, edge=edge, answers=answers, files=files, room=room), server
        )
        limits = Limits(max_pixels=config.max_pixels, max_file_bytes=config.max_image_bytes)
        inferring = Inferring(models, restoring, files, limits)
        add_GRPCInferenceServiceServicer_to_server(
            InferenceService(
                models, inferring, _serving(config), ready=lambda: self.ready, edge=edge, answers=answers, room=room
            ),
            server,
        )
        add_standard_services(server, self._board, look=self._tell, send_s=config.send_s, reflection=config.reflection)

    def _interceptors(self, metrics: Metrics) -> list[aio.ServerInterceptor]:
        """In the order in which calls pass them: what is refused counts, takes no place, and is not read."""
        config = self._config
        access = [] if config.token_file is None else [TokenInterceptor(TokenFile(config.token_file, log=self._log))]
        reading = UnaryReadingInterceptor(time_to_begin(config))
        return [RpcMetricsInterceptor(metrics, method_names()), *access, CallLimitInterceptor(config.max_rpcs), reading]

    def _serve_metrics(self, metrics: Metrics, host: str, port: int) -> None:
        pages = MetricsServer(metrics.page, host, port)
        found = pages.start()
        self._ends.callback(pages.close)
        self._log("metrics", address=join_address(host, found))

    async def _look(self) -> None:
        calm = 0
        while True:
            await asyncio.sleep(LOOK_S)
            self._tell()
            calm = 0 if self._answers else calm + 1
            if calm == round(CALM_S / LOOK_S):
                await asyncio.to_thread(_tidy)

    def _tell(self) -> None:
        """Put on the health board what is so."""
        if self._models is None:
            return
        self._board.server(self.ready)
        for name in {entry.name for entry in self._models.index()}:
            self._board.model(name, self._models.ready(name))


def _tidy() -> None:
    """Give back what refused and cancelled calls left: rings of exceptions and frames, and freed messages."""
    gc.collect()
    give_back()


def _serving(config: ServeConfig) -> Serving:
    gpus = [int(device.partition(":")[2] or 0) for device in config.devices if device.startswith("cuda")]
    return Serving(
        instances=len(config.devices),
        gpus=gpus,
        priority_levels=config.priority_levels,
        default_priority=config.default_priority,
        max_queue=config.max_requests,
        batch_delay_s=config.batch_window_ms / 1e3,
    )
