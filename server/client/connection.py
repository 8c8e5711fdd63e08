"""Where the server is and how it is spoken to: address, TLS, token, and gRPC's own options."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import grpc

from lqhq.runtime.errors import OptionError
from lqhq.server.client.folding import MAX_RESULT_BYTES

__all__ = ["ADDRESS", "Access", "Connection", "connection"]

File = str | os.PathLike[str]
ADDRESS = "127.0.0.1:8001"
PORT = 8001
MESSAGE_BYTES = min(MAX_RESULT_BYTES, 2**31 - 1)  # protobuf ends there
OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    # Our own pauses between tries are as short as this; gRPC's defaults would let each of them find it still waiting.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5000),
    # A server that vanished while it worked sends nothing, not even an end.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
)
HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s:/\[\]]+)(?::(?P<port>[0-9]{1,5}))?")
LOOPBACK = re.compile(r"localhost|127\.[0-9.]+|\[::1\]")
TOKEN = re.compile(r"[\x21-\x7e]{1,4096}")  # what a header can carry


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """All that a channel needs. `credentials` None: without TLS. `metadata` goes with every call."""

    address: str
    credentials: grpc.ChannelCredentials | None
    options: tuple[tuple[str, int], ...]
    metadata: tuple[tuple[str, str], ...]


class Access(TypedDict, total=False):
    """How the server is spoken to; every key may be left out, and then there is no TLS and no token.

    `tls` trusts the authorities that gRPC ships, `ca` those of a PEM file; `cert` and `key`, PEM files too, are for
    servers that want to know the client. A `token` is sent over TLS, or to this machine.
    """

    tls: bool
    ca: File | None
    cert: File | None
    key: File | None
    token: str | None


def connection(
    address: str,
    *,
    tls: bool = False,
    ca: File | None = None,
    cert: File | None = None,
    key: File | None = None,
    token: str | None = None,
) -> Connection:
    """Check and read; the names are those of `Access`. Raises `OptionError`; no error holds the token or the key."""
    target, near = _target(address)
    secure = tls or any(file is not None for file in (ca, cert, key))
    if (cert is None) != (key is None):
        raise OptionError(
            "cert" if cert is None else "key",
            found="one of cert and key",
            expected="both, or none",
            mend="Give the client's certificate and its private key.",
        )
    if token is not None:
        _check_token(token, address, safe=secure or near)
    credentials = None
    if secure:
        credentials = grpc.ssl_channel_credentials(
            root_certificates=_pem("ca", ca), private_key=_pem("key", key), certificate_chain=_pem("cert", cert)
        )
    # A proxy of the environment is for the world outside; gRPC would ask it for this machine, too.
    options = (*OPTIONS, ("grpc.enable_http_proxy", 0)) if near else OPTIONS
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    return Connection(address=target, credentials=credentials, options=options, metadata=metadata)


def _target(address: str) -> tuple[str, bool]:
    """What gRPC takes, and whether it is this machine."""
    if address.startswith("unix:"):
        return address, True
    match = HOST.fullmatch(address)
    if match is None or not 0 < int(match["port"] or PORT) < 65536:
        raise OptionError(
            "address",
            found=repr(address)[:200],
            expected="HOST, HOST:PORT, [IPv6]:PORT or unix:PATH",
            mend=f"Leave out any http:// and path; the default is {ADDRESS}.",
        )
    return f"{match['host']}:{match['port'] or PORT}", bool(LOOPBACK.fullmatch(match["host"]))


def _check_token(token: str, address: str, *, safe: bool) -> None:
    if not TOKEN.fullmatch(token):
        raise OptionError(
            "token",
            found="an empty text, or characters that no header carries",
            expected="1 to 4096 printable ASCII characters without blanks",
            mend="Look for a line break or a blank around it.",
        )
    if not safe:
        raise OptionError(
            "token",
            found=f"no TLS to {address}",
            expected="TLS, as everybody on the way could read the token",
            mend="Give tls or ca; without TLS, go through a tunnel to this machine or a unix: socket.",
        )


def _pem(option: str, path: File | None) -> bytes | None:
    if path is None:
        return None
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        found = error.strerror or str(error)
    else:
        if b"-----BEGIN " in data:
            return data
        found = "no PEM block"
    raise OptionError(option, found=f"{os.fspath(path)}: {found}", expected="a PEM file", mend="Check the path.")
