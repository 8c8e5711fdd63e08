"""ModelStreamInfer: several requests of one call at once, their results in the order in which they came.

A request that fails gets a reply that says why, and the others go on. With the metadata `triton_grpc_error: true` the
first failure ends the stream with its status instead, as Triton does.
"""

from __future__ import annotations

import asyncio
from typing import Any

from grpc import aio

from lqhq.server.call_edge import CallEdge, retry_after_ms
from lqhq.server.message_room import MessageRoom
from lqhq.server.open_answers import OpenAnswers
from lqhq.server.protos.inference_pb2 import ModelInferRequest, ModelStreamInferResponse
from lqhq.server.v2.errors import RequestError
from lqhq.server.v2.infer import Inferring, id_of
from lqhq.server.v2.replies import failed_reply, streamed
from lqhq.server.v2.requests import version_of
from lqhq.server.writer import Writer

__all__ = ["MAX_IN_FLIGHT", "STRICT", "InferStream"]

MAX_IN_FLIGHT = 8  # the next request is read when one of these has been answered
STRICT = "triton_grpc_error"

Context = aio.ServicerContext[ModelInferRequest, ModelStreamInferResponse]


class InferStream:
    """One call of ModelStreamInfer."""

    def __init__(
        self, inferring: Inferring, edge: CallEdge, answers: OpenAnswers, room: MessageRoom, context: Context
    ) -> None:
        self._inferring, self._edge, self._answers, self._context = inferring, edge, answers, context
        self._messages = room
        self._writer: Writer[ModelStreamInferResponse] = edge.writer(context)
        self._room = asyncio.Semaphore(MAX_IN_FLIGHT)
        metadata: Any = context.invocation_metadata() or ()
        self._strict = any(key == STRICT and value == "true" for key, value in metadata)

    async def run(self) -> None:
        """Until the client has half-closed and everything is answered. Raises the error that ends the stream."""
        turn = asyncio.Event()
        turn.set()
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await self._room.acquire()
                    request: Any = await self._context.read()
                    if request is aio.EOF:
                        return
                    after = asyncio.Event()
                    group.create_task(self._answer(request, turn, after))
                    turn = after
                    del request
        except BaseExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _answer(self, request: ModelInferRequest, turn: asyncio.Event, after: asyncio.Event) -> None:
        """Write the result when it is the request's `turn`; `after` is set for the next one."""
        try:
            with self._answers.part():
                reply = await self._reply(request, turn)
                del request  # it may be large, and its turn be far
                await turn.wait()
                await self._writer.write(reply)
            after.set()
        finally:
            self._room.release()

    async def _reply(self, request: ModelInferRequest, turn: asyncio.Event) -> ModelStreamInferResponse:
        id = id_of(request)
        try:
            self._answers.check()
            deadline_s = self._context.time_remaining()
            with self._messages.hold(request.ByteSize()):
                reply = await self._inferring.infer(request, id, deadline_s=deadline_s, writer=self._writer)
            return streamed(reply, final=True)
        except aio.BaseError:  # the client has gone
            raise
        except Exception as error:
            if self._strict:
                await turn.wait()
                raise
            return self._failed(request, id, error)

    def _failed(self, request: ModelInferRequest, id: str, error: Exception) -> ModelStreamInferResponse:
        try:
            version = version_of(request.model_version)
        except RequestError:
            version = 0
        _, details = self._edge.told(error, id)
        reply = failed_reply((request.model_name, version, request.id), details)
        if (after := retry_after_ms(error)) is not None:
            reply.infer_response.parameters["retry_after_ms"].int64_param = after
        return reply
