"""What a client does, as generators that call nobody: they yield steps, and are sent replies or thrown failures.

`Client` and `AsyncClient` carry the steps out, each in its own way; what to send, when to try again and what to raise
is here, once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from google.protobuf.message import Message

from lqhq.runtime.errors import LimitError
from lqhq.server.client.failures import CallFailed, error_of
from lqhq.server.client.folding import Folding
from lqhq.server.client.question import Question
from lqhq.server.client.result import Result
from lqhq.server.client.retry import Attempts
from lqhq.server.protos import inference_pb2 as v2
from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.server.v2.errors import RequestError

__all__ = ["Pause", "ServerStatus", "Step", "Steps", "Stream", "Unary", "describe", "models", "restore", "status"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unary:
    """One message there, one back, which is the step's reply; `method` is a name of either service."""

    method: str
    request: Message
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Stream:
    """One `RestoreStream`: `uploads` are sent, events go into `folding`, whose result is the step's reply."""

    uploads: Iterator[pb.RestoreUpload]
    folding: Folding
    timeout_s: float | None


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait so long."""

    seconds: float


Step = Unary | Stream | Pause
Steps = Generator[Step, Any, T]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """What a server says of itself. `ready`: it takes requests; `models` are those of `Client.models`."""

    address: str
    name: str
    version: str
    ready: bool
    models: tuple[pb.ModelSummary, ...]


def restore(question: Question, attempts: Attempts, address: str) -> Steps[Result]:
    """Ask in one message where that will do, else in chunks."""
    if question.small:
        try:
            reply = yield from _tried(lambda left: Unary("Restore", question.request(), left), attempts, address)
            return Result(reply.image, reply.outcome)
        except (LimitError, RequestError) as error:
            # gRPC and the server say so of a result that no message holds, which nobody could know before.
            if not isinstance(error, LimitError) and error.where != "result":
                raise
            attempts.forget()
    result = yield from _tried(lambda left: Stream(question.uploads(), Folding(address), left), attempts, address)
    return cast(Result, result)


def models(attempts: Attempts, address: str, *, ready: bool) -> Steps[tuple[pb.ModelSummary, ...]]:
    """The models of the server, by name and then newest first."""
    request = pb.ListModelsRequest(ready=ready)
    reply = yield from _tried(lambda left: Unary("ListModels", request, left), attempts, address)
    return tuple(reply.models)


def describe(attempts: Attempts, address: str, *, name: str, version: int) -> Steps[pb.Model]:
    """All that the server says of one model."""
    request = pb.DescribeModelRequest(model=pb.ModelRef(name=name, version=version))
    reply = yield from _tried(lambda left: Unary("DescribeModel", request, left), attempts, address)
    return cast(pb.Model, reply.model)


def status(attempts: Attempts, address: str) -> Steps[ServerStatus]:
    """Who answers there, whether it is ready, and what it holds."""
    who = yield from _tried(lambda left: Unary("ServerMetadata", v2.ServerMetadataRequest(), left), attempts, address)
    ready = yield from _tried(lambda left: Unary("ServerReady", v2.ServerReadyRequest(), left), attempts, address)
    held = yield from models(attempts, address, ready=False)
    return ServerStatus(address=address, name=who.name, version=who.version, ready=ready.ready, models=held)


def _tried(make: Callable[[float | None], Step], attempts: Attempts, address: str) -> Steps[Any]:
    """Make the call, again where that may help; raises what the last failure means."""
    while True:
        try:
            return (yield make(attempts.begin()))
        except CallFailed as failed:
            pause = attempts.pause_after(failed.failure)
            if pause is None:
                raise error_of(failed.failure, address, tries=attempts.tries) from None
        yield Pause(pause)
