"""The servicer of `inference.GRPCInferenceService`. What each message means is in the other files here."""

# ruff: noqa: N802 - methods have the names of the proto

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from importlib import metadata
from typing import Any, NoReturn

from grpc import aio

from lqhq.server.call_edge import CallEdge
from lqhq.server.message_room import MessageRoom
from lqhq.server.models.models import Models
from lqhq.server.open_answers import OpenAnswers
from lqhq.server.protos import inference_pb2 as pb
from lqhq.server.protos.inference_pb2_grpc import GRPCInferenceServiceServicer
from lqhq.server.v2.errors import UnsupportedError
from lqhq.server.v2.infer import Inferring, id_of
from lqhq.server.v2.metadata import model_metadata, server_metadata
from lqhq.server.v2.model_config import Serving, model_config
from lqhq.server.v2.repository import index_of, plain_load, plain_unload
from lqhq.server.v2.requests import version_of
from lqhq.server.v2.statistics import model_statistics
from lqhq.server.v2.stream import InferStream

__all__ = ["InferenceService"]

Context = aio.ServicerContext[Any, Any]


class InferenceService(GRPCInferenceServiceServicer):
    """Serves `models` through `inferring`; `ready` says whether the server as a whole is."""

    def __init__(
        self,
        models: Models,
        inferring: Inferring,
        serving: Serving,
        *,
        ready: Callable[[], bool],
        edge: CallEdge,
        answers: OpenAnswers,
        room: MessageRoom,
    ) -> None:
        self._models, self._inferring, self._serving = models, inferring, serving
        self._ready, self._edge, self._answers, self._room = ready, edge, answers, room

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._ready())

    async def ServerMetadata(self, request: pb.ServerMetadataRequest, context: Context) -> pb.ServerMetadataResponse:
        return server_metadata(metadata.version("lqhq"))

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:
        """Of a model that nobody knows it is not an error, but no."""
        async with self._edge.call(context):
            version = version_of(request.version)
            ready = not self._answers.draining and self._models.ready(request.name, version)
            return pb.ModelReadyResponse(ready=ready)

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Context) -> pb.ModelMetadataResponse:
        async with self._edge.call(context):
            with self._models.lease(request.name, version_of(request.version)) as served:
                return model_metadata(served.name, self._versions(served.name), served.bundle.manifest)

    async def ModelConfig(self, request: pb.ModelConfigRequest, context: Context) -> pb.ModelConfigResponse:
        async with self._edge.call(context):
            with self._models.lease(request.name, version_of(request.version)) as served:
                manifest = served.bundle.manifest
                config = model_config(served.name, self._versions(served.name), manifest, self._serving)
                return pb.ModelConfigResponse(config=config)

    async def ModelStatistics(self, request: pb.ModelStatisticsRequest, context: Context) -> pb.ModelStatisticsResponse:
        async with self._edge.call(context):
            version = version_of(request.version)
            wanted = [(request.name, version)] if request.name else self._served()
            reply = pb.ModelStatisticsResponse()
            for name, number in wanted:
                with self._models.lease(name, number) as served:
                    reply.model_stats.append(model_statistics(served.name, served.version, served.counters.reading()))
            return reply

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:
        id = id_of(request)
        async with self._edge.call(context, id):
            self._answers.call(context)
            with self._room.hold(request.ByteSize()):
                reply = await self._inferring.infer(request, id, deadline_s=context.time_remaining())
            self._edge.cut_off(context)
            return reply

    async def ModelStreamInfer(  # type: ignore[override]  # it writes by itself, to time each message
        self, request_iterator: AsyncIterator[pb.ModelInferRequest], context: Context
    ) -> None:
        async with self._edge.call(context):
            self._answers.check()
            await InferStream(self._inferring, self._edge, self._answers, self._room, context).run()

    async def RepositoryIndex(self, request: pb.RepositoryIndexRequest, context: Context) -> pb.RepositoryIndexResponse:
        async with self._edge.call(context):
            return index_of(request, self._models.index())

    async def RepositoryModelLoad(
        self, request: pb.RepositoryModelLoadRequest, context: Context
    ) -> pb.RepositoryModelLoadResponse:
        async with self._edge.call(context):
            self._answers.check()
            await self._models.load(plain_load(request))
            return pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: Context
    ) -> pb.RepositoryModelUnloadResponse:
        async with self._edge.call(context):
            await self._models.unload(plain_unload(request))
            return pb.RepositoryModelUnloadResponse()

    async def SystemSharedMemoryStatus(self, request: Any, context: Context) -> NoReturn:
        await self._refuse(context, "SystemSharedMemoryStatus", SHARED)

    async def SystemSharedMemoryRegister(self, request: Any, context: Context) -> NoReturn:
        await self._refuse(context, "SystemSharedMemoryRegister", SHARED)

    async def SystemSharedMemoryUnregister(self, request: Any, context: Context) -> NoReturn:
        await self._refuse(context, "SystemSharedMemoryUnregister", SHARED)

    async def CudaSharedMemoryStatus(self, request: Any, context: Context) -> NoReturn:
        await self._refuse(context, "CudaSharedMemoryStatus", SHARED)

    async def CudaSharedMemoryRegister(self, request: Any, context: Context) -> NoReturn:
        await self._refuse(context, "CudaSharedMemoryRegister", SHARED)

    async def CudaSharedMemoryUnregister(self, request: Any, context: Context) -> NoReturn:
        await self._refuse(context, "CudaSharedMemoryUnregister", SHARED)

    async def TraceSetting(self, request: Any, context: Context) -> NoReturn:
        await self._refuse(context, "TraceSetting", SETTINGS)

    async def LogSettings(self, request: Any, context: Context) -> NoReturn:
        await self._refuse(context, "LogSettings", SETTINGS)

    async def _refuse(self, context: Context, method: str, instead: tuple[str, str]) -> NoReturn:
        expected, mend = instead
        await self._edge.fail(context, UnsupportedError(method, found="a call", expected=expected, mend=mend))

    def _served(self) -> list[tuple[str, int]]:
        return [(entry.name, entry.version) for entry in self._models.index() if entry.state == "READY"]

    def _versions(self, name: str) -> list[int]:
        return sorted(version for served, version in self._served() if served == name)


SHARED = ("tensors in the request: shared memory is not offered", "Send them in raw_input_contents.")
SETTINGS = ("settings from the command line: none can be changed by a call", "Restart the server with other flags.")
