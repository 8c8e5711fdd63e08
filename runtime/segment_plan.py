"""How the segments of a role go over an image: sizes of canvases, strips, what is alive when, and what it all takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from lqhq.runtime.geometry import Size, round_up
from lqhq.runtime.latent_spec import Segment
from lqhq.runtime.segment_canvas import canvas_bytes

__all__ = [
    "KEYS_AT_ONCE",
    "SegmentBytes",
    "Step",
    "Strip",
    "last_reads",
    "plan_bytes",
    "plan_segments",
    "strip_arrays",
    "strip_bytes",
    "strip_rows",
]

FLOAT = 4
FED = 2  # strips made ready before the first one's result is put away: `driver.AHEAD`
INSIDE = 3  # copies that an engine makes of what goes in and comes out: normalised, activated, reordered
TOKENS = 16  # strips of tokens are multiples: a vector register's worth
MANY = 64  # rows; of fewer, halos would cost more than is won
CALM = 256 << 20  # bytes; strips that take more are slower: benchmarks/vae_segments.py
KEYS_AT_ONCE = 4096  # of an attention's graph: it never has the scores of all keys
SCORES = 3  # copies of those scores: as they are, less the largest, exponentials


class Strip(NamedTuple):
    """Rows (or tokens) `start` to `stop` of `x`; `first` to `last` with the halo."""

    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Step:
    """A segment over one image, in nearly equal strips of at most `height` rows of `x` (tokens, for attention).

    Strips begin at multiples of `unit`. For tokens that is more than the segment needs: engines compute the last few
    values of an array, and products of one row, in another order, and so no strip has ends of its own.
    """

    segment: Segment
    x_channels: int
    skip_channels: int
    x_size: Size
    height: int

    @property
    def y_size(self) -> Size:
        up, down = self.segment.up, self.segment.down
        return Size(self.x_size.height * up // down, self.x_size.width * up // down)

    @property
    def unit(self) -> int:
        return TOKENS if self.segment.kind == "attention" else self.segment.down

    @property
    def length(self) -> int:
        """Rows of `x` that have rows of `y`; all tokens, for attention."""
        if self.segment.kind == "attention":
            return self.x_size.pixels
        return self.x_size.height // self.segment.down * self.segment.down

    @property
    def count(self) -> int:
        return -(-self._units // max(1, self.height // self.unit))

    @property
    def _units(self) -> int:
        return -(-self.length // self.unit)

    def strip(self, index: int) -> Strip:
        """Of equal numbers of units, or one more; the last strips are those of more."""
        ends = (min(self.length, self._units * at // self.count * self.unit) for at in (index, index + 1))
        start, stop = ends
        last = self.x_size.pixels if self.segment.kind == "attention" else self.x_size.height
        return Strip(start, stop, max(0, start - self.segment.halo), min(last, stop + self.segment.halo))


class SegmentBytes(NamedTuple):
    """Bytes at the worst moment: of canvases (in memory or on disk), and in memory of everything else.

    `strips` are the strips on their way and what an engine makes of them; `tokens`, keys and values, are held in
    memory where canvases are on disk, and a part of the canvas where not.
    """

    canvases: int
    strips: int
    tokens: int

    def memory(self, *, on_disk: bool) -> int:
        return self.strips + (self.tokens if on_disk else self.canvases)


def plan_segments(
    segments: Sequence[Segment], size: Size, *, channels: Mapping[str, int], budget: int
) -> tuple[Step, ...]:
    """`segments` over an `input` of `size`; `channels` are those of `input` and, where it is read, `noise`.

    Strips are as high as `budget` bytes let them be, at least one row of `y`.
    """
    known = {"input": size}
    planes = dict(channels)
    steps = []
    for segment in segments:
        x_channels, skip_channels = planes[segment.x], planes[segment.skip] if segment.skip else 0
        whole = Step(segment, x_channels, skip_channels, known[segment.x], 1)
        steps.append(replace(whole, height=strip_rows(whole, budget)))
        known[segment.y], planes[segment.y] = whole.y_size, segment.channels
    return tuple(steps)


def strip_rows(step: Step, budget: int) -> int:
    """The most rows of `x`, or tokens, that keep one strip's run within `budget` bytes; at least one row of `y`.

    Where there are many, no more than a quarter of the rows, or than `CALM` holds: while a strip runs, the one before
    it is stored and measured, and memory that was never touched is slow.
    """

    def held(most_bytes: int) -> int:
        return most_bytes // _row_bytes(step) - 2 * step.segment.halo

    attends = step.segment.kind == "attention"
    least, quarter = (2 * TOKENS, step.length) if attends else (step.unit, -(-step.length // 4))
    most = min(step.length, max(MANY, min(quarter, held(CALM))))
    return max(least, min(held(budget) // step.unit * step.unit, round_up(most, step.unit)))


def strip_bytes(step: Step) -> int:
    """Bytes that the run of one strip takes beside canvases, as far as can be told without the engine."""
    strip = step.strip(step.count - 1)
    return _row_bytes(step) * (strip.stop - strip.start + 2 * step.segment.halo)


def strip_arrays(step: Step) -> int:
    """Bytes of what one strip is fed alone (keys and values are fed to all) and of what comes of it."""
    segment, largest = step.segment, min(step.length, -(-step._units // step.count) * step.unit)
    if segment.kind == "attention":
        return FLOAT * largest * (2 * segment.channels + step.skip_channels)
    wide = step.x_channels + step.skip_channels + segment.channels * segment.up**2
    return FLOAT * (largest + 2 * segment.halo) * step.x_size.width * wide


def _row_bytes(step: Step) -> int:
    """Of one row of `x`, or one token."""
    segment = step.segment
    if segment.kind == "attention":
        wide = FED * (segment.channels + step.skip_channels) + 2 * INSIDE * segment.channels
        return FLOAT * (SCORES * min(KEYS_AT_ONCE, step.x_size.pixels) + wide)
    made = segment.channels * segment.up**2
    wide = FED * (step.x_channels + step.skip_channels) + INSIDE * (step.x_channels + made)
    return FLOAT * step.x_size.width * wide


def last_reads(segments: Sequence[Segment]) -> dict[str, int]:
    """By canvas: the last segment that reads it."""
    return {name: index for index, one in enumerate(segments) for name in (one.x, one.skip) if name is not None}


def plan_bytes(steps: Sequence[Step]) -> SegmentBytes:
    """What `steps` take at the worst moment."""
    last = last_reads([step.segment for step in steps])
    alive: dict[str, int] = {}
    canvases, tokens = 0, 0
    for index, step in enumerate(steps):
        segment = step.segment
        if segment.y != "output":
            alive[segment.y] = canvas_bytes(segment.channels, step.y_size)
        canvases = max(canvases, sum(alive.values()))
        if segment.kind == "attention":
            tokens = max(tokens, canvas_bytes(2 * segment.channels, step.x_size))
        alive = {name: size for name, size in alive.items() if last.get(name, 0) > index}
    return SegmentBytes(canvases, max(map(strip_bytes, steps)), tokens)
