"""What an attack got, and what counts as a fault of the server."""

from __future__ import annotations

from collections.abc import Collection

import grpc

__all__ = ["BUSY", "REFUSED", "FaultError", "code_of", "judged"]

# A refusal that tells the client what to do. UNKNOWN and INTERNAL are never meant: they are what no one thought of.
REFUSED = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)
BUSY = frozenset({grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE})  # a good request comes again


class FaultError(Exception):
    """The server did what it must not; the text says what, and to what."""


def code_of(error: grpc.RpcError) -> grpc.StatusCode:
    """The status of a failed call."""
    code: grpc.StatusCode = error.code()
    return code


def judged(error: grpc.RpcError, allowed: Collection[grpc.StatusCode], what: str) -> str:
    """The status's name. Raises `FaultError` where it is not one of `allowed`."""
    code = code_of(error)
    if code not in allowed:
        names = ", ".join(sorted(one.name for one in allowed))
        raise FaultError(f"{what}: status {code.name} ({error.details()}); expected one of {names}")
    return code.name
