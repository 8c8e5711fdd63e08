"""Whether a feed fits a graph, told before the engine sees it: engines differ in what they notice."""

from __future__ import annotations

from collections.abc import Mapping

from lqhq.runtime.axes import parse_axis
from lqhq.runtime.errors import EngineError
from lqhq.runtime.session import Feed

__all__ = ["check_feed"]

Shape = tuple[int | str | None, ...]


def check_feed(
    where: str, inputs: Mapping[str, Shape], feed: Feed, *, integers: frozenset[str] = frozenset()
) -> dict[str, int]:
    """The length of each named axis (`N`, `H`, `W`) in `feed`, which must fit `inputs`; an axis of None is free.

    Raises `EngineError` for a missing or foreign name, another type than float32 (int64 for those in `integers`),
    another number of axes, an empty axis, and an axis that differs from its number, or from the same letter elsewhere.
    """
    if set(feed) != set(inputs):
        raise _unfit(where, f"inputs {', '.join(sorted(feed)) or 'none'}", ", ".join(sorted(inputs)))
    lengths: dict[str, int] = {}
    for name, shape in inputs.items():
        array = feed[name]
        kind, found = str(array.dtype).removeprefix("torch."), tuple(array.shape)
        dtype = "int64" if name in integers else "float32"
        wanted = f"{name} {dtype} [{', '.join(str(lengths.get(str(axis), axis)) for axis in shape)}]"
        told = f"{name} {kind} [{', '.join(map(str, found))}]"
        if kind != dtype or len(found) != len(shape):
            raise _unfit(where, told, wanted)
        for axis, length in zip(shape, found, strict=True):
            if length < 1 or not _fits(axis, length, lengths):
                raise _unfit(where, told, wanted)
    return lengths


def _fits(axis: int | str | None, length: int, lengths: dict[str, int]) -> bool:
    """Whether `axis` may be so long; a letter that was not met before is noted in `lengths`."""
    if axis is None or isinstance(axis, int):
        return axis in (None, length)
    times, letter = parse_axis(axis) or (1, axis)
    return length == times * lengths.setdefault(letter, length // times)


def _unfit(where: str, found: str, expected: str) -> EngineError:
    return EngineError(
        where,
        found=found,
        expected=expected,
        mend="Feed what the bundle's manifest says; if lqhq itself made this feed, export the checkpoint again.",
    )
