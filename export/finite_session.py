"""A session that counts what is no finite number: in a finished image a NaN is a pixel like any other."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import numpy as np

from lqhq.runtime.engine_spec import Profile
from lqhq.runtime.session import Feed, Fetch, Session

__all__ = ["FiniteSession"]


class FiniteSession:
    """`session`, with `broken`, the number of NaN and infinities among all outputs so far."""

    def __init__(self, session: Session) -> None:
        self._session, self.broken = session, 0

    @property
    def largest(self) -> int | None:
        return self._session.largest

    @property
    def profiles(self) -> tuple[Profile, ...]:
        return self._session.profiles

    def run(self, feed: Feed) -> Fetch:
        found = self._session.run(feed)
        self.broken += sum(int((~np.isfinite(array)).sum()) for array in found.values())
        return found

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
