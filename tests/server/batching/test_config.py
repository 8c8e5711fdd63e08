"""Limits of the batcher are checked when they are made."""

from __future__ import annotations

from typing import Any

import pytest

from lqhq.server.batching.config import BatchingConfig

FAULTS: list[dict[str, Any]] = [
    {"window_ms": -1.0},
    {"window_ms": float("inf")},
    {"window_ms": float("nan")},
    {"batches_out": 0},
    {"works_per_request": 0},
    {"works": 0},
    {"ageing_ms": -1.0},
    {"ageing_share": 1},
]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_is_refused(fault):
    BatchingConfig()
    with pytest.raises(ValueError, match=f"batching.{next(iter(fault))}"):
        BatchingConfig(**fault)
