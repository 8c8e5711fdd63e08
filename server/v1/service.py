"""The servicer of `lqhq.v1.Restoration`: messages to asks, results to messages; no arithmetic."""

# ruff: noqa: N802 - methods have the names of the proto

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from grpc.aio import ServicerContext

from lqhq.runtime.errors import LimitError
from lqhq.server.call_edge import CallEdge
from lqhq.server.config.serve_config import ServeConfig
from lqhq.server.message_room import MessageRoom
from lqhq.server.models.models import Models
from lqhq.server.open_answers import OpenAnswers
from lqhq.server.picture_files import PictureFiles
from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.server.protos.lqhq_v1_pb2_grpc import RestorationServicer
from lqhq.server.restoring.ask import Restored
from lqhq.server.restoring.restoring import Restoring
from lqhq.server.v1.asks import request_id, restoration_ask
from lqhq.server.v1.descriptions import limits_of, model_of, summary_of
from lqhq.server.v1.events import Events, outcome_of, send_result
from lqhq.server.v1.uploads import Upload, check_header
from lqhq.server.v2.errors import RequestError, UnavailableError

__all__ = ["RestorationService"]

OVERHEAD = 65536  # bytes of a message beside its image


class RestorationService(RestorationServicer):
    """Serves `models` through `restoring`."""

    def __init__(
        self,
        models: Models,
        restoring: Restoring,
        config: ServeConfig,
        *,
        edge: CallEdge,
        answers: OpenAnswers,
        files: PictureFiles,
        room: MessageRoom,
    ) -> None:
        self._models, self._restoring, self._config = models, restoring, config
        self._edge, self._answers, self._files, self._room = edge, answers, files, room
        self._limits = limits_of(config)

    async def Restore(
        self, request: pb.RestoreRequest, context: ServicerContext[pb.RestoreRequest, pb.RestoreResponse]
    ) -> pb.RestoreResponse:
        async with self._edge.call(context, request.ask.request_id):
            self._answers.call(context)
            id = request_id(request.ask)
            self._check_size("image", request.image)
            self._check_size("mask", request.mask)
            ask = restoration_ask(
                request.ask,
                id,
                image=request.image,
                mask=request.mask or None,
                deadline_s=context.time_remaining(),
            )
            with self._room.hold(len(ask.image) + len(ask.mask or b"")):
                image, outcome = await self._restoring.restore(ask, None)
            assert isinstance(image, bytes)
            self._check_fits(len(image))
            self._edge.cut_off(context)
            return pb.RestoreResponse(image=image, outcome=outcome_of(outcome))

    async def RestoreStream(  # type: ignore[override]  # it writes by itself, to time each message
        self,
        request_iterator: AsyncIterator[pb.RestoreUpload],
        context: ServicerContext[pb.RestoreUpload, pb.RestoreEvent],
    ) -> None:
        async with self._edge.call(context):
            self._answers.check()
            upload = Upload(context, self._files, idle_s=self._config.idle_s)
            header = await upload.header()
            id = request_id(header.ask)
            async with self._edge.call(context, id):
                writer = self._edge.writer(context)
                chunk_bytes = check_header(header, self._config.max_image_bytes)
                # The upload is no longer held once its result is there, however slowly that is read.
                restored = await self._uploaded(upload, header, id, Events(writer, self._files), context)
                await send_result(writer, self._files, restored, chunk_bytes)

    async def _uploaded(
        self,
        upload: Upload,
        header: pb.UploadHeader,
        id: str,
        events: Events,
        context: ServicerContext[pb.RestoreUpload, pb.RestoreEvent],
    ) -> Restored:
        """Read the files and restore the image. What can be refused is refused before gigabytes travel."""
        restoration_ask(header.ask, id, image=b"", mask=None, deadline_s=None)
        with self._models.lease(header.ask.model.name, header.ask.model.version):
            pass
        with self._room.hold(header.image_bytes + header.mask_bytes):
            files = await upload.files(header)
            self._answers.call(context)
            ask = restoration_ask(
                header.ask,
                id,
                image=files.image,
                mask=files.mask,
                deadline_s=context.time_remaining(),
                progress=header.progress,
                tiles=header.tiles,
            )
            return await self._restoring.restore(ask, events)

    async def ListModels(
        self, request: pb.ListModelsRequest, context: ServicerContext[Any, Any]
    ) -> pb.ListModelsResponse:
        async with self._edge.call(context):
            entries = sorted(self._models.index(), key=lambda entry: (entry.name, -entry.version))
            wanted = [entry for entry in entries if entry.state == "READY" or not request.ready]
            return pb.ListModelsResponse(models=[summary_of(entry) for entry in wanted])

    async def DescribeModel(
        self, request: pb.DescribeModelRequest, context: ServicerContext[Any, Any]
    ) -> pb.DescribeModelResponse:
        async with self._edge.call(context):
            return pb.DescribeModelResponse(model=self._described(request.model))

    def _described(self, ref: pb.ModelRef) -> pb.Model:
        """Of a model that takes no requests, what the list says of it."""
        try:
            with self._models.lease(ref.name, ref.version) as served:
                entry = next(
                    one for one in self._models.index() if (one.name, one.version) == (served.name, served.version)
                )
                return model_of(entry, served, self._limits)
        except UnavailableError:
            listed = [one for one in self._models.index() if one.name == ref.name]
            wanted = [one for one in listed if ref.version in (0, one.version)]
            if not wanted:
                raise
            return pb.Model(summary=summary_of(max(wanted, key=lambda one: one.version)))

    def _check_size(self, part: str, data: bytes) -> None:
        if len(data) > self._config.max_image_bytes:
            raise LimitError(
                part,
                found=f"{len(data)} bytes",
                expected=f"at most {self._config.max_image_bytes}",
                mend="Send a smaller file.",
            )
        if part == "image" and not data:
            raise RequestError(part, found="no bytes", expected="an image's file", mend="Send it in `image`.")

    def _check_fits(self, size: int) -> None:
        if size + OVERHEAD > self._config.max_message_bytes:
            raise LimitError(
                "result",
                found=f"{size} bytes",
                expected=f"at most {self._config.max_message_bytes - OVERHEAD}, what one message holds",
                mend="Take RestoreStream, or ask for JPEG or WebP.",
            )
