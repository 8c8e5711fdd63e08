"""Limits and times of the batcher."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BatchingConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchingConfig:
    """Checked when made; raises `ValueError`.

    `window_ms`: the most that a batch which is not full waits for more.
    `batches_out`: given out and not back, over all workers. One to each keeps the wait of who comes next shortest; a
    second lets its feed be made meanwhile, and may be returned while it has not begun.
    `works_per_request`: asked of one source and not back; at least the largest batch, or one request fills none.
    `works`: the same over all requests, beyond the one that each open request may always have.
    `ageing_ms`: who waited so long without service is old; `ageing_share`: while somebody is, every so many batches one
    is led by the oldest.
    """

    window_ms: float = 5.0
    batches_out: int = 1
    works_per_request: int = 16
    works: int = 256
    ageing_ms: float = 1000.0
    ageing_share: int = 4

    def __post_init__(self) -> None:
        least = {"window_ms": 0, "batches_out": 1, "works_per_request": 1, "works": 1, "ageing_ms": 0}
        for name, bound in (least | {"ageing_share": 2}).items():
            value = getattr(self, name)
            if not bound <= value < float("inf"):
                raise ValueError(f"batching.{name}: found {value}; expected a finite number from {bound} on")
