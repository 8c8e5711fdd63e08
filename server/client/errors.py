"""What can go wrong on the client's side beyond what the server says of a request.

LqhqError
├── UnavailableError       (server/v2/errors.py) the server takes no request now, or has the model not ready
│   └── UnreachableError   no server answers at the address, or the connection broke
├── AccessError            the server wants a token or a certificate, or refused the one given
├── ServerError            the server failed on its own side; its log has the reason
└── TransferError          what came back is not what was promised: order, size or digest

What the server says comes as the class that it had there: `RequestError`, `UnknownModelError`, `OverloadError`, ...
"""

from __future__ import annotations

from lqhq.runtime.errors import LqhqError
from lqhq.server.v2.errors import UnavailableError

__all__ = ["AccessError", "ServerError", "TransferError", "UnreachableError"]


class UnreachableError(UnavailableError):
    """No server answers at the address, or the connection broke."""


class AccessError(LqhqError):
    """The server wants a token or a certificate, or refused the one given."""


class ServerError(LqhqError):
    """The server failed on its own side; its log has the reason."""


class TransferError(LqhqError):
    """What came back is not what was promised: order, size or digest."""
