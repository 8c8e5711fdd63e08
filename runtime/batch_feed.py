"""The feeds of several works as one: a sample each, stacked along N."""

from __future__ import annotations

from collections.abc import Sequence

from lqhq.runtime.engines.device_arrays import joined
from lqhq.runtime.job import Work
from lqhq.runtime.session import Feed

__all__ = ["batch_feed"]


def batch_feed(works: Sequence[Work], size: int) -> Feed:
    """`[size, ...]` each, of one to `size` `works` of equal key; the last one is repeated where they are fewer.

    Engines may compute a sample differently in a batch of another size, so a fixed size is what keeps the bytes equal.
    Raises what `Work.feed` raises.
    """
    feeds = [work.feed() for work in works]
    if size == 1:
        return feeds[0]
    feeds += [feeds[-1]] * (size - len(feeds))
    return {name: joined([feed[name] for feed in feeds]) for name in feeds[0]}
