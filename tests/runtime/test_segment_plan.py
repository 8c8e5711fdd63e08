"""Plans of segments: strips within a budget, sizes that follow, and what canvases take at the worst moment."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lqhq.runtime.geometry import Size
from lqhq.runtime.latent_spec import GroupNorm, Segment
from lqhq.runtime.segment_plan import Step, plan_bytes, plan_segments, strip_arrays, strip_bytes, strip_rows

NORM = GroupNorm(groups=2, eps=1e-6)
SEGMENTS = (
    Segment(file="s/0", x="input", y="a", channels=4, halo=1),
    Segment(file="s/1", x="a", y="b", channels=8, halo=2, down=2, norm=NORM),
    Segment(file="s/2", x="b", y="qkv", channels=24, norm=NORM),
    Segment(file="s/3", x="qkv", skip="b", y="c", channels=8, kind="attention"),
    Segment(file="s/4", x="c", y="output", channels=4, halo=2, up=2, norm=NORM),
)


def planned(size: Size, budget: int) -> tuple[Step, ...]:
    return plan_segments(SEGMENTS, size, channels={"input": 3, "noise": 4}, budget=budget)


def test_sizes_follow() -> None:
    steps = planned(Size(20, 12), 1 << 40)
    assert [step.x_size for step in steps] == [Size(20, 12), Size(20, 12), *[Size(10, 6)] * 3]
    assert [step.y_size for step in steps] == [Size(20, 12), *[Size(10, 6)] * 3, Size(20, 12)]
    assert [(step.x_channels, step.skip_channels) for step in steps] == [(3, 0), (4, 0), (8, 0), (24, 8), (8, 0)]
    assert all(step.count == 1 for step in steps)
    assert steps[3].length == 60


@pytest.mark.parametrize("size", [Size(20, 12), Size(34, 2), Size(2, 2)])
@pytest.mark.parametrize("budget", [1, 3_000, 20_000, 1 << 40])
def test_strips_cover_every_row_once(size: Size, budget: int) -> None:
    for step in planned(size, budget):
        strips = [step.strip(index) for index in range(step.count)]
        rows = [row for strip in strips for row in range(strip.start, strip.stop)]
        assert rows == list(range(step.length))
        end = step.length
        halo, down = step.segment.halo, step.segment.down
        for strip in strips:
            assert strip.start % down == 0
            assert strip.first % down == 0
            assert (strip.first, strip.last) == (max(0, strip.start - halo), min(end, strip.stop + halo))


@pytest.mark.parametrize("budget", [3_000, 20_000, 100_000])
def test_strips_stay_within_the_budget(budget: int) -> None:
    for step in planned(Size(200, 12), budget):
        least = replace(step, height=32 if step.segment.kind == "attention" else step.segment.down)
        assert strip_bytes(step) <= max(budget, strip_bytes(least))
        assert step.height == strip_rows(step, budget)
        assert strip_bytes(step) > budget / 4 or step.count == 1 or step.height == least.height


def test_a_high_canvas_is_in_four_strips_at_least() -> None:
    """So that one is measured while the next one runs; a low one is not cut for that."""
    counts = {step.segment.y: step.count for step in planned(Size(1024, 12), 1 << 40)}
    assert counts["a"] == counts["b"] == 4
    assert all(step.count == 1 for step in planned(Size(64, 12), 1 << 40))


def test_strips_are_equal() -> None:
    """But for one row of `y`; none is a single token, whatever the budget."""
    for budget in range(10_000, 30_000, 1_234):
        for step in planned(Size(202, 12), budget):
            lengths = {strip.stop - strip.start for strip in map(step.strip, range(step.count))}
            assert max(lengths) - min(lengths) <= step.unit
            assert max(lengths) <= step.height
            assert step.segment.kind == "rows" or min(lengths) >= 16


def test_a_row_that_nothing_follows_from_is_not_cut() -> None:
    """Of 5 rows, halved, come 2; the fifth is seen as a halo."""
    step = planned(Size(5, 4), 1)[1]
    assert step.y_size == Size(2, 2)
    assert [step.strip(index) for index in range(step.count)] == [(0, 2, 0, 4), (2, 4, 0, 5)]


def test_canvases_at_the_worst_moment() -> None:
    plane = 20 * 12 * 4
    taken = plan_bytes(planned(Size(20, 12), 1 << 40))
    assert taken.canvases == max(4 * plane + 8 * plane // 4, (8 + 24 + 8) * plane // 4)
    assert taken.tokens == 2 * 8 * plane // 4
    assert taken.memory(on_disk=False) == taken.strips + taken.canvases
    assert taken.memory(on_disk=True) == taken.strips + taken.tokens
    assert plan_bytes(planned(Size(20, 12), 1)).strips < taken.strips


@pytest.mark.parametrize("budget", [1, 20_000, 1 << 40])
def test_the_arrays_of_a_strip_are_what_it_is_fed_and_what_comes_of_it(budget: int) -> None:
    """No strip has more; engines' own copies are left out."""
    for step in planned(Size(40, 12), budget):
        segment, most = step.segment, 0
        for index in range(step.count):
            strip = step.strip(index)
            rows, width = strip.last - strip.first, step.x_size.width
            fed = (step.x_channels + step.skip_channels) * rows * width
            given = segment.channels * (rows * segment.up // segment.down) * (width * segment.up // segment.down)
            if segment.kind == "attention":  # rows are tokens; of x the queries alone
                fed, given = (segment.channels + step.skip_channels) * rows, segment.channels * rows
            most = max(most, 4 * (fed + given))
        assert most <= strip_arrays(step) < strip_bytes(step)
