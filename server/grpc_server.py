"""A gRPC server bound to its port, with the limits that the configuration names; no services yet."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from grpc import ServerCredentials, aio

from lqhq.runtime.errors import OptionError
from lqhq.server.config.serve_config import ServeConfig

__all__ = ["bound_server"]

KEEPALIVE_MS = 60_000  # a peer that is silent for so long is asked whether it is there
KEEPALIVE_ANSWER_MS = 20_000
LEAST_PING_MS = 10_000  # clients that ask more often are sent away: pings cost work and carry nothing
UNLIMITED = -1
NO_COMPRESSION = 1  # the bit of "identity" alone


def bound_server(
    config: ServeConfig, credentials: ServerCredentials | None, interceptors: Sequence[aio.ServerInterceptor]
) -> tuple[aio.Server, int]:
    """The server and its port. Raises `OptionError` where the port cannot be had.

    It listens from here on, so that a second server fails at once; calls are answered once it is started. How many run
    at once is an interceptor's affair (`access.call_limit`).
    """
    _try(config)
    server = aio.server(interceptors=interceptors, options=_options(config))
    try:
        if credentials is None:
            return server, server.add_insecure_port(config.address)
        return server, server.add_secure_port(config.address, credentials)
    except RuntimeError as error:
        raise _taken(config, "cannot be bound") from error


def _try(config: ServeConfig) -> None:
    """Bind the address and let it go: gRPC says less of what is wrong, and says it on stderr as well."""
    try:
        found = socket.getaddrinfo(
            config.host.strip("[]"), config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        for family, kind, protocol, _, address in found:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as gRPC does: old connections linger
                probe.bind(address)
    except (OSError, UnicodeError) as error:
        raise _taken(config, getattr(error, "strerror", None) or str(error)) from error


def _taken(config: ServeConfig, found: str) -> OptionError:
    return OptionError(
        "port",
        found=f"{config.address}: {found}",
        expected="an address of this machine, and a port that is free",
        mend="Stop what listens there, or choose another: --port 0 takes any free one.",
    )


def _options(config: ServeConfig) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", config.max_message_bytes),
        ("grpc.max_send_message_length", UNLIMITED),  # results are larger than what they are made of
        ("grpc.max_concurrent_streams", config.max_streams),
        ("grpc.max_allowed_incoming_connections", config.max_connections),
        # gRPC unpacks a message before it looks at its size: 300 KB became 300 MB. Images are packed already.
        ("grpc.compression_enabled_algorithms_bitset", NO_COMPRESSION),
        ("grpc.so_reuseport", 0),  # else two servers share a port, and each gets half of the calls
        ("grpc.keepalive_time_ms", KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_ANSWER_MS),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", LEAST_PING_MS),
    ]
