"""Every error has one of Triton's words."""

from __future__ import annotations

import asyncio

import pytest

from lqhq.runtime import errors
from lqhq.server.restoring.reasons import reason_of, refusal_of
from lqhq.server.v2 import errors as served

PARTS = {"found": "this", "expected": "that", "mend": "Do."}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (served.OverloadError("x", **PARTS), "REJECTED"),
        (served.UnavailableError("x", **PARTS), "REJECTED"),
        (served.DeadlineError("x", **PARTS), "CANCELED"),
        (asyncio.CancelledError(), "CANCELED"),
        (errors.EngineError("x", **PARTS), "BACKEND"),
        (errors.BundleError("x", **PARTS), "BACKEND"),
        (MemoryError(), "BACKEND"),
        (KeyError("planted"), "BACKEND"),
        (errors.ImageError("x", **PARTS), "OTHER"),
        (errors.OptionError("x", **PARTS), "OTHER"),
        (errors.LimitError("x", **PARTS), "OTHER"),
    ],
)
def test_reasons(error, reason):
    assert reason_of(error) == reason


def test_refusals():
    assert refusal_of(served.OverloadError("x", **PARTS)) == "busy"
    assert refusal_of(errors.LimitError("x", **PARTS)) == "too_large"
    assert refusal_of(errors.OptionError("x", **PARTS)) == "too_late"
