"""Certificates made by `openssl` for these tests, and a server with a method of each kind."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from lqhq.server.access.caller import CALLER

# What grpc.aio's client makes of a call, now and then, that ends before its message has left: a race of its own.
FROM_CORE, TRIES = "Internal error from Core", 9
KINDS = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")


def openssl(*words: str, folder: Path) -> None:
    """Fails the test where the program is missing: without it nothing here is checked."""
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=60)


def new_key(folder: Path, name: str) -> None:
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{name}.key", folder=folder)


def authority(folder: Path, name: str) -> None:
    new_key(folder, name)
    words = ("req", "-x509", "-key", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}")
    openssl(*words, folder=folder)


def signed(folder: Path, name: str, by: str, *, days: int = 2) -> None:
    """A certificate for this machine; ended already where `days` is negative."""
    new_key(folder, name)
    request = ("req", "-new", "-key", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    openssl(*request, "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", folder=folder)
    words = ("x509", "-req", "-in", f"{name}.csr", "-CA", f"{by}.pem", "-CAkey", f"{by}.key", "-CAcreateserial")
    openssl(*words, "-copy_extensions", "copy", "-days", str(days), "-out", f"{name}.pem", folder=folder)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `<name>.pem` and `<name>.key`: ca, server, renewed, client, expired; other and stranger by it."""
    folder = tmp_path_factory.mktemp("certificates")
    authority(folder, "ca")
    authority(folder, "other")
    for name in ("server", "renewed", "client"):
        signed(folder, name, "ca")
    signed(folder, "expired", "ca", days=-1)
    signed(folder, "stranger", "other")
    return folder


def methods() -> grpc.GenericRpcHandler:
    """`/t.T/<kind>` answers with the caller's name, or raises an error for the message `fail`."""

    def told(message: bytes) -> bytes:
        if message == b"fail":
            raise ValueError("as asked for")
        return CALLER.get().encode()

    async def unary_unary(message: bytes, context: Any) -> bytes:
        if message == b"abort":
            await context.abort(grpc.StatusCode.NOT_FOUND, "as asked for")
        return told(message)

    async def unary_stream(message: bytes, context: Any) -> AsyncIterator[bytes]:
        yield told(message)

    async def stream_unary(messages: AsyncIterator[bytes], context: Any) -> bytes:
        return b"".join([told(message) async for message in messages])

    async def stream_stream(messages: AsyncIterator[bytes], context: Any) -> None:  # as our services write
        async for message in messages:
            await context.write(told(message))

    local = locals()
    handlers = {kind: getattr(grpc, f"{kind}_rpc_method_handler")(local[kind]) for kind in KINDS}
    return grpc.method_handlers_generic_handler("t.T", handlers)


Served = Callable[..., AbstractAsyncContextManager[int]]


@pytest.fixture
def served() -> Served:
    """`served(interceptors=(), credentials=None)`: a context whose value is the port."""

    @asynccontextmanager
    async def serve(
        interceptors: Sequence[Any] = (), credentials: grpc.ServerCredentials | None = None
    ) -> AsyncIterator[int]:
        server = grpc.aio.server(interceptors=interceptors)
        server.add_generic_rpc_handlers((methods(),))
        port = (
            server.add_insecure_port("127.0.0.1:0")
            if credentials is None
            else server.add_secure_port("127.0.0.1:0", credentials)
        )
        await server.start()
        try:
            yield port
        finally:
            await server.stop(None)

    return serve


@pytest.fixture
def call() -> Callable[..., Any]:
    """`await call(channel, kind, metadata=(), message=b"")`: the answer. Raises `grpc.aio.AioRpcError`."""

    async def one(channel: grpc.aio.Channel, kind: str, metadata: Any = (), message: bytes = b"") -> bytes:
        for _ in range(TRIES):
            try:
                return await asked(channel, kind, metadata, message)
            except grpc.aio.AioRpcError as error:
                if error.details() != FROM_CORE:
                    raise
        raise AssertionError(f"{FROM_CORE}, {TRIES} times")

    async def asked(channel: grpc.aio.Channel, kind: str, metadata: Any, message: bytes) -> bytes:
        method = getattr(channel, kind)(f"/t.T/{kind}")
        sent = iter([message]) if kind.startswith("stream") else message
        answer = method(sent, metadata=tuple(metadata), timeout=20)
        if kind.endswith("stream"):
            return b"".join([part async for part in answer])
        result: bytes = await answer
        return result

    return one
