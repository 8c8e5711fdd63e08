"""What calls of sessions cost, as measured here: for fairness, predicted waiting and admission."""

from __future__ import annotations

from typing import NamedTuple

from lqhq.server.batching.batch_key import BatchKey, Model
from lqhq.server.batching.recent import Recent

__all__ = ["CostBook"]

GAIN = 1 / 8  # of a new measurement in the mean, once there are as many; before that the plain mean
# The bundle that ships with lqhq took 1.0 ms for 32 x 32 pixels on one core. The first call of a role replaces it.
START_PIXEL_MS = 1e-3
TRUSTED_CALLS = 3  # the first calls of a session are slow; nobody is refused for what they took
TRUSTED_MS = 60_000.0  # nor for what was measured long ago: a machine that was busy then may be idle now


class _Measured(NamedTuple):
    """Mean and least of some calls, in ms, and when the last one was."""

    calls: int
    mean_ms: float
    least_ms: float
    at_ms: float


class CostBook:
    """Milliseconds of calls by (key, size of the batch), padding included."""

    def __init__(self) -> None:
        self._calls = Recent[tuple[BatchKey, int], _Measured]()
        self._pixels = Recent[tuple[Model, str], _Measured]()

    def measured(self, key: BatchKey, size: int, ms: float, now_ms: float) -> None:
        """A call of `size` samples took `ms`. Raises `ValueError` for a time that is not positive."""
        if not ms > 0:
            raise ValueError(f"ms: found {ms}; expected more than 0")
        self._calls.put((key, size), _joined(self._calls.get((key, size)), ms, now_ms))
        kind = (key.model, key.role)
        self._pixels.put(kind, _joined(self._pixels.get(kind), ms / (key.pixels * size), now_ms))

    def knows(self, key: BatchKey) -> bool:
        """Whether any call of the key's role was measured: if not, `call_ms` is a guess."""
        return self._pixels.get((key.model, key.role)) is not None

    def call_ms(self, key: BatchKey, size: int) -> float:
        """What a call of `size` samples will take.

        The mean of such calls; where there was none, the mean per pixel of other shapes and sizes of the same role;
        where there was none either, a start value by pixels.
        """
        if (exact := self._calls.get((key, size))) is not None:
            return exact.mean_ms
        if (rate := self._pixels.get((key.model, key.role))) is not None:
            return rate.mean_ms * key.pixels * size
        return START_PIXEL_MS * key.pixels * size

    def least_ms(self, key: BatchKey, size: int, now_ms: float) -> float:
        """What such a call takes at the very least; 0 where it was not measured often and lately enough to say."""
        exact = self._calls.get((key, size))
        if exact is None or exact.calls < TRUSTED_CALLS or now_ms - exact.at_ms > TRUSTED_MS:
            return 0.0
        return exact.least_ms


def _joined(before: _Measured | None, ms: float, now_ms: float) -> _Measured:
    if before is None:
        return _Measured(1, ms, ms, now_ms)
    calls = before.calls + 1
    mean = before.mean_ms + max(GAIN, 1 / calls) * (ms - before.mean_ms)
    return _Measured(calls, mean, min(before.least_ms, ms), now_ms)
