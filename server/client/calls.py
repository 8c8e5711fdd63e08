"""The calls of both clients: one channel of gRPC's synchronous stack.

The asyncio stack is not used: where a server ends a call while the client still uploads, which is how a busy server
says so, it often loses the server's status and reports INTERNAL in its place (grpc/grpc issue 36066, in 1.81 too).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from lqhq.runtime.geometry import Box
from lqhq.server.client.connection import Connection
from lqhq.server.client.failures import CallFailed, failure_of
from lqhq.server.client.folding import Notice, Piece
from lqhq.server.client.steps import Stream, Unary
from lqhq.server.protos.inference_pb2_grpc import GRPCInferenceServiceStub
from lqhq.server.protos.lqhq_v1_pb2_grpc import RestorationStub

__all__ = ["Calls", "OnProgress", "OnTile", "ended", "tell"]

OnProgress = Callable[[int, int, float], object]
OnTile = Callable[[Box, bytes], object]


class Calls:
    """A channel and its calls, which begin at once and are waited for by whoever began them. Threads may share it."""

    def __init__(self, where: Connection) -> None:
        self.address, self._metadata = where.address, where.metadata
        if where.credentials is None:
            self._channel = grpc.insecure_channel(where.address, where.options)
        else:
            self._channel = grpc.secure_channel(where.address, where.credentials, where.options)
        self._v1, self._v2 = RestorationStub(self._channel), GRPCInferenceServiceStub(self._channel)

    def begin(self, step: Unary | Stream) -> Any:
        """A call: of a `Unary` a future of its reply, of a `Stream` an iterator of events. End it with `ended`."""
        if isinstance(step, Stream):
            return self._v1.RestoreStream(step.uploads, timeout=step.timeout_s, metadata=self._metadata)
        stub = self._v1 if hasattr(self._v1, step.method) else self._v2
        # As a future: a plain call that Ctrl-C interrupts would run on at the server.
        return getattr(stub, step.method).future(step.request, timeout=step.timeout_s, metadata=self._metadata)

    def close(self) -> None:
        """End the connection; calls that run are cancelled."""
        self._channel.close()


@contextmanager
def ended(call: Any) -> Iterator[None]:
    """Turns the end of a call into `CallFailed`; whatever else leaves the block cancels the call."""
    try:
        yield
    except grpc.RpcError as error:
        if error is not call:  # a listener's own: asking this call for its end would wait for it
            raise
        raise CallFailed(failure_of(call.code(), call.details(), call.trailing_metadata())) from None
    finally:
        call.cancel()


def tell(notice: Notice, progress: OnProgress | None, tiles: OnTile | None) -> object:
    """Call the listener that a notice is for, if there is one; returns what it returned."""
    if isinstance(notice, Piece):
        return None if tiles is None else tiles(notice.box, notice.png)
    return None if progress is None else progress(*notice)
