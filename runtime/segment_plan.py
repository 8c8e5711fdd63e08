"""How the segments of a role go over an image: sizes of canvases, strips, what is alive when, and what it all takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from lqhq.runtime.geometry import Size
from lqhq.runtime.latent_spec import Segment
from lqhq.runtime.segment_canvas import canvas_bytes

__all__ = ["SegmentBytes", "Step", "Strip", "last_reads", "plan_bytes", "plan_segments", "strip_bytes", "strip_rows"]

FLOAT = 4
FED = 2  # strips made ready before the first one's result is put away: `driver.AHEAD`
INSIDE = 3  # copies that an engine makes of what goes in and comes out: normalised, activated, reordered
LEAST_TOKENS = 16  # fewer would read all keys and values for next to nothing
SCORES = 2  # the attention's scores, before and after the softmax


class Strip(NamedTuple):
    """Rows (or tokens) `start` to `stop` of `x`; `first` to `last` with the halo."""

    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Step:
    """A segment over one image, in equal strips of at most `height` rows of `x` (tokens, for attention).

    Equal but for one row of `y`: matrix products of one row are computed in another order than those of several.
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
    def length(self) -> int:
        """Rows of `x` that have rows of `y`; all tokens, for attention."""
        if self.segment.kind == "attention":
            return self.x_size.pixels
        return self.x_size.height // self.segment.down * self.segment.down

    @property
    def count(self) -> int:
        return -(-self.length // self.height)

    def strip(self, index: int) -> Strip:
        down = self.segment.down
        start, stop = (self.length // down * at // self.count * down for at in (index, index + 1))
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
    """The most rows of `x`, or tokens, that keep one strip's run within `budget` bytes; at least one row of `y`."""
    down = step.segment.down
    least = LEAST_TOKENS if step.segment.kind == "attention" else down
    rows = budget // _row_bytes(step) - 2 * step.segment.halo
    return min(max(least, rows // down * down), max(down, step.length))


def strip_bytes(step: Step) -> int:
    """Bytes that the run of one strip takes beside canvases, as far as can be told without the engine."""
    units = -(-(step.length // step.segment.down) // step.count)
    return _row_bytes(step) * (units * step.segment.down + 2 * step.segment.halo)


def _row_bytes(step: Step) -> int:
    """Of one row of `x`, or one token."""
    segment = step.segment
    if segment.kind == "attention":
        wide = FED * (segment.channels + step.skip_channels) + INSIDE * segment.channels
        return FLOAT * (SCORES * step.x_size.pixels + wide)
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
