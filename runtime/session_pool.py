"""Sessions that are opened when they are first needed, and closed again where memory does not hold them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from lqhq.runtime import machine
from lqhq.runtime.engine_spec import Profile
from lqhq.runtime.session import Session

__all__ = ["SessionPool"]


class SessionPool(Mapping[str, Session]):
    """Sessions by name, opened by `open_one(name)`. A name is a role, or one of its segments, as `decode/03`.

    One segment at a time is open: each keeps its weights, there are dozens, and they follow one another. While `alone`
    is set that holds for roles, too; `thrifty` sets it for good. So a pool is for jobs that run one after another.
    `give_back` gives freed memory back to the system.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        open_one: Callable[[str], Session],
        *,
        thrifty: bool = False,
        give_back: Callable[[], None] = machine.give_back,
    ) -> None:
        self._names, self._open_one, self._thrifty, self._give_back = names, open_one, thrifty, give_back
        self._opened: dict[str, Session] = {}
        self._profiles: dict[str, tuple[Profile, ...]] = {}
        self._alone = thrifty

    @property
    def alone(self) -> bool:
        """Whether one session at a time is open, whatever it is."""
        return self._alone

    @alone.setter
    def alone(self, value: bool) -> None:
        self._alone = value or self._thrifty

    def __getitem__(self, name: str) -> Session:
        if name not in self._names:
            raise KeyError(name)
        # Also where it is open: an earlier job may have left others so.
        others = [one for one in self._opened if one != name and (self._alone or _both_segments(one, name))]
        self._close(others)
        # Between stages, not between a stage's segments: the next one takes the same memory again at once.
        if any(_role(one) != _role(name) for one in others):
            self._give_back()
        if name not in self._opened:
            self._opened[name] = self._open_one(name)
            if self._opened[name].largest is not None:
                self._profiles[name] = self._opened[name].profiles
        return self._opened[name]

    @property
    def profiles(self) -> dict[str, tuple[Profile, ...]]:
        """The shapes of engines that were built for some, by name, of all that were ever open."""
        return dict(self._profiles)

    @property
    def opened(self) -> Mapping[str, Session]:
        """Those that are open now."""
        return self._opened

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def close(self) -> None:
        """Close all; they are opened again where they are taken again."""
        self._close(list(self._opened))
        self._give_back()

    def _close(self, names: list[str]) -> None:
        for name in names:
            self._opened.pop(name).close()


def _role(name: str) -> str:
    return name.partition("/")[0]


def _both_segments(one: str, other: str) -> bool:
    return "/" in one and "/" in other
