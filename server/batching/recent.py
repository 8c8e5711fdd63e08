"""A mapping that forgets: hostile shapes must not fill the memory with what was learned about them."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["MOST", "Recent"]

K = TypeVar("K")
V = TypeVar("V")

MOST = 4096  # keys; some hundred bytes each, and far more shapes than a bundle's tiles have


class Recent(Generic[K, V]):
    """Keeps the `most` keys that were set last."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._values: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        return self._values.get(key)

    def put(self, key: K, value: V) -> None:
        self._values.pop(key, None)  # so that it goes to the end
        self._values[key] = value
        while len(self._values) > self._most:
            del self._values[next(iter(self._values))]

    def __len__(self) -> int:
        return len(self._values)
