"""Restore images with a server: `Client` and `AsyncClient` speak lqhq.v1, and try again where that helps."""

from __future__ import annotations

from lqhq.server.client.async_client import AsyncClient
from lqhq.server.client.client import Client
from lqhq.server.client.errors import AccessError, ServerError, TransferError, UnreachableError
from lqhq.server.client.pictures import array_of
from lqhq.server.client.result import Result
from lqhq.server.client.retry import Retry
from lqhq.server.client.steps import ServerStatus
from lqhq.server.v2.errors import (
    DeadlineError,
    OverloadError,
    RequestError,
    UnavailableError,
    UnknownModelError,
    UnsupportedError,
)

__all__ = [
    "AccessError",
    "AsyncClient",
    "Client",
    "DeadlineError",
    "OverloadError",
    "RequestError",
    "Result",
    "Retry",
    "ServerError",
    "ServerStatus",
    "TransferError",
    "UnavailableError",
    "UnknownModelError",
    "UnreachableError",
    "UnsupportedError",
    "array_of",
]
