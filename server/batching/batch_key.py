"""What works must share to share a batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lqhq.runtime.job import Work

__all__ = ["BatchKey", "Lane", "Model", "Sizes", "fixed_size", "size_for"]


class Model(NamedTuple):
    """One loaded version of a bundle, and how it is run."""

    bundle: str
    version: str
    precision: str
    engine: str


class BatchKey(NamedTuple):
    """Works of equal key run in one call of one session. Sides are those of the work's box, 0 for calls without one."""

    model: Model
    role: str
    height: int
    width: int

    @classmethod
    def of(cls, model: Model, work: Work) -> BatchKey:
        return cls(model, *work.key)

    @property
    def pixels(self) -> int:
        """What the cost grows with; 1 for a call that is about no pixels."""
        return max(1, self.height * self.width)


class Lane(NamedTuple):
    """Where works wait for one another. `apart` is 0, or the number of the request that shares with no other."""

    key: BatchKey
    apart: int


# The sizes, ascending, in which sessions may be called for a key. A batch of fewer works than its size is padded by
# repeating its last. What the neighbours of a sample hold never changes it, but how many they are may: engines choose
# their loops by the whole shape. The rule for the bytes of a result:
# - (1,): nobody is ever beside it, so they are those of the runtime alone. Roles that run whole images or segments need
#   it anyway, for their memory was planned so.
# - one larger size: the same bytes whoever is in the batch, where an engine computes a sample alike at all its places.
# - several sizes: short batches cost less; results agree within the bundle's stated tolerance, not more.
Sizes = Callable[[BatchKey], tuple[int, ...]]


def fixed_size(size: int) -> Sizes:
    """Every call has exactly `size` samples, at least 1."""
    if size < 1:
        raise ValueError(f"size: found {size}; expected at least 1")
    return lambda key: (size,)


def size_for(sizes: tuple[int, ...], works: int) -> int:
    """The least of the ascending `sizes` that holds `works`. Raises `ValueError` where none does."""
    found = next((size for size in sizes if size >= works), None)
    if found is None:
        raise ValueError(f"works: found {works}; expected at most {max(sizes, default=0)}")
    return found
