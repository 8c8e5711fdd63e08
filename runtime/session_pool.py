"""Sessions that are opened when they are first needed, and closed again where memory does not hold them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from lqhq.runtime.session import Session

__all__ = ["SessionPool"]


class SessionPool(Mapping[str, Session]):
    """Sessions by name, opened by `open_one(name)`. A name is a role, or one of its segments, as `decode/03`.

    While `alone` is set, one stage at a time is held: taking a session of another role closes those of all others. Set
    it only where one job runs, whose stages follow one another.
    """

    def __init__(self, names: tuple[str, ...], open_one: Callable[[str], Session]) -> None:
        self._names, self._open_one = names, open_one
        self._opened: dict[str, Session] = {}
        self.alone = False

    def __getitem__(self, name: str) -> Session:
        if name not in self._opened:
            if name not in self._names:
                raise KeyError(name)
            if self.alone:
                self._close_others(name)
            self._opened[name] = self._open_one(name)
        return self._opened[name]

    @property
    def opened(self) -> Mapping[str, Session]:
        """Those that are open now."""
        return self._opened

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def close(self, role: str | None = None) -> None:
        """Close the sessions of `role`, its segments too; all where it is None."""
        for name in [one for one in self._opened if role is None or _role(one) == role]:
            self._opened.pop(name).close()

    def _close_others(self, name: str) -> None:
        for other in {_role(one) for one in self._opened} - {_role(name)}:
            self.close(other)


def _role(name: str) -> str:
    return name.partition("/")[0]
