"""Why requests end without a result, in the words of the metrics."""

from __future__ import annotations

import asyncio

from lqhq.runtime.errors import BundleError, CancelledError, EngineError, LimitError, LqhqError
from lqhq.server.metrics.metrics import Refusal
from lqhq.server.metrics.model_counters import Reason
from lqhq.server.v2.errors import DeadlineError, OverloadError, UnavailableError

__all__ = ["reason_of", "refusal_of"]


def reason_of(error: BaseException) -> Reason:
    """Triton's word: refused by the queue, given up by its caller, failed here, or the request's own fault."""
    if isinstance(error, OverloadError | UnavailableError):
        return "REJECTED"
    if isinstance(error, asyncio.CancelledError | CancelledError | DeadlineError):
        return "CANCELED"
    if isinstance(error, EngineError | BundleError) or not isinstance(error, LqhqError):
        return "BACKEND"
    return "OTHER"


def refusal_of(error: LqhqError) -> Refusal:
    """Why admission said no."""
    if isinstance(error, OverloadError):
        return "busy"
    return "too_large" if isinstance(error, LimitError) else "too_late"
