"""What a request will cost."""

from __future__ import annotations

from typing import NamedTuple

from lqhq.runtime.autotile import Choice
from lqhq.runtime.latent_plan import LatentChoice
from lqhq.server.admission.forecast import Calls
from lqhq.server.batching.batch_key import BatchKey, Sizes
from lqhq.server.batching.cost_book import CostBook

__all__ = ["Predicted", "predict", "request_bytes"]


class Predicted(NamedTuple):
    """Works; milliseconds of one worker, as expected and at the very least (0 where nobody can say); bytes."""

    works: int
    ms: float
    least_ms: float
    bytes: int


def predict(calls: Calls, sizes: Sizes, book: CostBook, *, size_bytes: int, now_ms: float) -> Predicted:
    """The cost of `calls` by what was measured. `size_bytes` is what `request_bytes` says.

    Expected are full batches: short ones are given out where the worker has nothing better to do.
    """
    expected = least = 0.0
    for key, count in calls.items():
        most = sizes(key)[-1]
        expected += count * book.call_ms(key, most) / most
        least += _least(key, count, sizes(key), book, now_ms)
    return Predicted(sum(calls.values()), expected, least, size_bytes)


def _least(key: BatchKey, count: int, sizes: tuple[int, ...], book: CostBook, now_ms: float) -> float:
    """No division of `count` works into batches takes less: not below one call, nor below the cheapest of samples."""
    least = {size: book.least_ms(key, size, now_ms) for size in sizes}
    return max(min(least.values()), count * min(ms / size for size, ms in least.items()))


def request_bytes(
    choice: Choice | LatentChoice, *, engine_bytes: int, coded_bytes: int, tile_bytes: int, held: int
) -> int:
    """Bytes that one request takes from when it is accepted until it is answered.

    The peak that the runtime expects, less `engine_bytes` of it, which all requests share; the image as it came and as
    it leaves (`coded_bytes`); and since the runtime counts the arrays of one tile, `tile_bytes` for each further work
    of the `held` that may be asked for at once. A bound, not a measurement: canvases and tiles seldom peak together.
    """
    return max(0, choice.peak_bytes - engine_bytes) + coded_bytes + tile_bytes * max(0, held - 1)
