"""Calls without a token of the file are refused before a message of theirs is read."""

from __future__ import annotations

from typing import Any

import grpc
from grpc.aio import ServerInterceptor

from lqhq.server.access.caller import CALLER
from lqhq.server.access.token_file import TokenFile
from lqhq.server.rpc_handler import Continuation, Handler, refusal

__all__ = ["HEADER", "OPEN_METHODS", "TokenInterceptor"]

HEADER = "authorization"
# Orchestrators ask for health without secrets; it tells no more than that models are there.
OPEN_METHODS = frozenset({"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"})
NO_TOKEN = "This server wants the header authorization: Bearer <token>, once."
WRONG_TOKEN = "The token is not one of this server's."


class TokenInterceptor(ServerInterceptor):
    """`authorization: Bearer <token>` (RFC 6750), or UNAUTHENTICATED. The caller's name is in `CALLER` from here on."""

    def __init__(self, tokens: TokenFile) -> None:
        self._tokens = tokens

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler:
        """The method's handler, or one that refuses."""
        if handler_call_details.method in OPEN_METHODS:
            return await continuation(handler_call_details)
        token = bearer(handler_call_details.invocation_metadata)
        if token is None:
            return refusal(grpc.StatusCode.UNAUTHENTICATED, NO_TOKEN)
        if (caller := self._tokens.caller(token)) is None:
            return refusal(grpc.StatusCode.UNAUTHENTICATED, WRONG_TOKEN)
        CALLER.set(caller)
        return await continuation(handler_call_details)


def bearer(metadata: Any) -> str | None:
    """The token of the one `authorization` header in it; None where there is none, or several, or of another form."""
    values = [value for key, value in metadata or () if key == HEADER]
    if len(values) != 1 or not isinstance(values[0], str):
        return None
    scheme, blank, token = values[0].partition(" ")
    return token if blank and scheme.lower() == "bearer" and token else None
