"""What a contender is: something to run, an answer to compare, and how it was tuned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

__all__ = ["Entry"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`run` is what is timed; `answer`, run once and not timed, is what proves that all do the same work."""

    run: Callable[[], object]
    answer: Callable[[], NDArray[Any]] | None = None
    note: str = ""
