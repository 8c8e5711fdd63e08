"""A role as segments: any strips give what the whole network gives, in memory or on disk; each mistake is seen."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from lqhq.runtime import segments as subject
from lqhq.runtime.driver import drive
from lqhq.runtime.errors import EngineError
from lqhq.runtime.geometry import Box, Size
from lqhq.runtime.job import Job
from lqhq.runtime.latent_spec import GroupNorm, Segment, check_canvases
from lqhq.runtime.moments import RowMoments
from lqhq.runtime.scratch import ScratchFolder
from lqhq.runtime.segment_canvas import CanvasMaker, HeldCanvas, new_room
from lqhq.runtime.segment_plan import plan_segments
from lqhq.runtime.segments import Segmented, segment_role

SEED = 5_003
WIDE = 4
CLOSE = 1e-6
NORM = GroupNorm(groups=2, eps=1e-6)
Array = NDArray[np.float32]
# Every kind of segment, and a skip of each kind: down, normed with a skip, tokens, normed after tokens, up.
SEGMENTS = (
    Segment(file="s/0", x="input", y="first", channels=WIDE, halo=1),
    Segment(file="s/1", x="first", y="small", channels=WIDE, halo=2, down=2, norm=NORM),
    Segment(file="s/2", x="small", skip="noise", y="noisy", channels=WIDE, halo=1, norm=NORM),
    Segment(file="s/3", x="noisy", y="qkv", channels=3 * WIDE, norm=NORM),
    Segment(file="s/4", x="qkv", skip="noisy", y="mixed", channels=WIDE, kind="attention"),
    Segment(file="s/5", x="mixed", skip="small", y="large", channels=WIDE, halo=2, up=2, norm=NORM),
    Segment(file="s/6", x="large", skip="first", y="output", channels=WIDE, halo=1, norm=NORM),
)


def convolved(x: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    """3 x 3, zeros around, by `weight` `[out, in, 3, 3]`."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.einsum("chwij,ocij->ohw", windows, weight)


def weights(index: int, segment: Segment) -> NDArray[Any]:
    wide = 2 if index == 0 else WIDE
    draw = np.random.default_rng([SEED, index])
    return draw.standard_normal((segment.channels, wide, 3, 3)) / 6


def computed(index: int, segment: Segment, feed: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """What a segment computes, in the type of its feed; arrays without the batch axis."""
    if segment.kind == "attention":
        scores = np.exp(feed["q"].T @ feed["k"])
        return (feed["v"] @ (scores / scores.sum(1, keepdims=True)).T) + feed["skip"]
    x = feed["x"]
    if segment.norm is not None:
        x = np.tanh((x - feed["mean"][:, None, None]) * feed["rstd"][:, None, None])
    weight = weights(index, segment)
    y = convolved(x, weight) if segment.halo else np.einsum("chw,oc->ohw", x, weight[:, :, 1, 1])
    if "skip" in feed:
        y = y + feed["skip"]
    if segment.up == 2:
        y = convolved(y.repeat(2, 1).repeat(2, 2), weight[:, :WIDE])
    return convolved(y, weight)[:, 1::2, 1::2] if segment.down == 2 else y


class Session:
    """Stands in for a segment's graph; in float64 inside, so that only what is tested here can differ."""

    def __init__(self, index: int, segment: Segment) -> None:
        self._index, self._segment = index, segment

    def run(self, feed: Mapping[str, Any]) -> dict[str, Array]:
        assert all(array.dtype == np.float32 and array.flags.c_contiguous for array in feed.values())
        inner = {name: array[0].astype(np.float64) for name, array in feed.items()}
        return {"y": computed(self._index, self._segment, inner)[None].astype(np.float32)}


def given(size: Size) -> dict[str, Array]:
    draw = np.random.default_rng([SEED, *size])
    level = np.linspace(-2, 2, size.height)[:, None]  # strips differ, as an image's parts do
    image = (draw.standard_normal((2, *size)) + level + 3).astype(np.float32)
    return {"input": image, "noise": draw.standard_normal((WIDE, *halved(size)), np.float32)}


def halved(size: Size) -> Size:
    return Size(size.height // 2, size.width // 2)


def whole(size: Size) -> NDArray[Any]:
    """The network at once, in float64, by the definition of a group norm."""
    canvases: dict[str, NDArray[Any]] = {name: array.astype(np.float64) for name, array in given(size).items()}
    for index, segment in enumerate(SEGMENTS):
        x = canvases[segment.x]
        feed = {"x": x}
        if segment.skip:
            feed["skip"] = canvases[segment.skip]
        if segment.norm:
            groups = x.reshape(segment.norm.groups, -1)
            share = len(x) // segment.norm.groups
            feed["mean"] = groups.mean(1).repeat(share)
            feed["rstd"] = (groups.var(1) + segment.norm.eps).repeat(share) ** -0.5
        if segment.kind == "attention":
            tokens = x.reshape(3, WIDE, -1)
            feed = dict(zip("qkv", tokens, strict=True)) | {"skip": feed["skip"].reshape(WIDE, -1)}
        y = computed(index, segment, feed)
        canvases[segment.y] = y.reshape(len(y), *x.shape[1:]) if segment.kind == "attention" else y
    return canvases["output"]


class Rows:
    """Takes the result, and sees that it comes from top to bottom."""

    def __init__(self) -> None:
        self.parts: list[Array] = []

    def __call__(self, top: int, rows: Array) -> None:
        assert top == sum(part.shape[1] for part in self.parts)
        self.parts.append(rows.copy())

    @property
    def image(self) -> Array:
        return np.concatenate(self.parts, axis=1)


def started(
    size: Size, height: int | None, canvas: CanvasMaker = HeldCanvas, segments: Sequence[Segment] = SEGMENTS
) -> tuple[Segmented, Rows]:
    """A run in strips of `height` rows of `y` or `height` + 1 tokens at most, in one where it is None."""
    inputs, rows = given(size), Rows()
    steps = [
        step
        if height is None
        else replace(step, height=height * step.segment.down + (step.segment.kind == "attention"))
        for step in plan_segments(segments, size, channels={"input": 2, "noise": WIDE}, budget=1 << 40)
    ]
    readers = {
        name: lambda top, count, array=array: array[:, top : top + count]  # type: ignore[misc]
        for name, array in inputs.items()
    }
    return Segmented("encode", steps, inputs=readers, output=rows, canvas=canvas), rows


def finished(run: Segmented, segments: Sequence[Segment] = SEGMENTS, *, shuffled: int | None = None) -> None:
    """Run to the end; with `shuffled`, all that is ready is done in a random order."""
    sessions = {segment_role("encode", index): Session(index, one) for index, one in enumerate(segments)}
    order = random.Random(shuffled)
    calls = 0
    while not run.finished:
        ready = list(iter(run.ready, None))
        fetched = [(call, sessions[call.role].run(run.feed(call))) for call in ready]
        if shuffled is not None:
            order.shuffle(fetched)
        for call, fetch in fetched:
            run.done(call, fetch)
        calls += len(ready)
    assert calls == run.total


def restored(size: Size, height: int | None, **options: Any) -> Array:
    run, rows = started(size, height, **options)
    finished(run, options.get("segments", SEGMENTS))
    return rows.image


def apart(found: Array, size: Size) -> float:
    true = whole(size)
    return float(np.abs(found - true).max() / max(1.0, np.abs(true).max()))


def test_the_segments_fit_each_other() -> None:
    check_canvases("encode", SEGMENTS)


@pytest.mark.parametrize("size", [Size(12, 10), Size(14, 6), Size(2, 2), Size(22, 4)])
@pytest.mark.parametrize("height", [None, 1, 2, 3, 5])
def test_any_strips_give_the_whole(size: Size, height: int | None) -> None:
    assert apart(restored(size, height), size) <= CLOSE


@pytest.mark.parametrize("height", [None, 1, 4])
def test_on_disk_bit_for_bit(height: int | None, tmp_path: Path) -> None:
    size = Size(12, 10)
    on_disk = restored(size, height, canvas=ScratchFolder(tmp_path))
    np.testing.assert_array_equal(on_disk, restored(size, height))


def test_the_order_does_not_show() -> None:
    size = Size(12, 10)
    wanted = restored(size, 2)
    for seed in range(3):
        run, rows = started(size, 2)
        finished(run, shuffled=seed)
        np.testing.assert_array_equal(rows.image, wanted)


def test_the_driver_runs_it() -> None:
    """Two batches ahead, on another thread, progress to the end."""
    size = Size(12, 10)
    run, rows = started(size, 2)
    sink: Any = None
    seen: list[tuple[int, int]] = []
    sessions: Any = {segment_role("encode", index): Session(index, one) for index, one in enumerate(SEGMENTS)}
    drive([Job(run, sink)], sessions, progress=lambda *at: seen.append(at))
    assert seen[-1] == (run.total, run.total)
    assert run.finished
    assert run.ready() is None
    np.testing.assert_array_equal(rows.image, restored(size, 2))


def test_boxes_are_rows_with_their_halo() -> None:
    run, _ = started(Size(12, 10), 5)
    assert [call.box for call in iter(run.ready, None)] == [Box(0, 0, 5, 10), Box(3, 0, 6, 10), Box(7, 0, 5, 10)]


def test_canvases_go_after_their_last_reader() -> None:
    alive: set[str] = set()
    most: list[int] = []

    class Counted(HeldCanvas):
        def __init__(self, channels: int, size: Size) -> None:
            super().__init__(channels, size)
            self._name = str(id(self))
            alive.add(self._name)
            most.append(len(alive))

        def close(self) -> None:
            alive.discard(self._name)

    run, _ = started(Size(12, 10), 3, canvas=Counted)
    finished(run)
    assert most == [1, 2, 3, 4, 5, 4]
    assert not alive
    half_done, _ = started(Size(12, 10), 3, canvas=Counted)
    assert alive
    half_done.close()
    half_done.close()
    assert not alive


@pytest.mark.parametrize("height", [1, 2, 5, 12])
def test_what_canvases_keep_is_little_more_than_their_pixels(height: int) -> None:
    """A piece may be a part of a strip's result, which it holds as a whole."""
    kept: list[float] = []

    class Weighed(HeldCanvas):
        def write(self, start: int, values: np.ndarray) -> None:
            whole = values
            while isinstance(whole.base, np.ndarray):
                whole = whole.base
            kept.append(whole.nbytes / values.nbytes)
            super().write(start, values)

    run, _ = started(Size(12, 10), height, canvas=Weighed)
    finished(run)
    assert max(kept) < 1.12


def test_memory_of_large_canvases_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[int] = []
    monkeypatch.setattr("lqhq.runtime.segment_canvas.LARGE", 3 * 4 * 64)
    for size, times in ((Size(8, 8), 1), (Size(8, 7), 0)):
        canvas = HeldCanvas(3, size, freed=lambda: freed.append(1))
        canvas.write(0, np.zeros((3, size.pixels), np.float32))
        canvas.close()
        canvas.close()
        assert len(freed) == times
        freed.clear()


def test_strips_are_fed_from_the_same_arrays_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counted(count: int) -> Any:
        made.append(count)
        return new_room(count)

    wanted = restored(Size(40, 10), 1)
    monkeypatch.setattr(subject, "new_room", counted)
    run, rows = started(Size(40, 10), 1)
    while not run.finished:
        call = run.ready()
        assert call is not None
        run.done(call, Session(int(call.role[-2:]), SEGMENTS[int(call.role[-2:])]).run(run.feed(call)))
    np.testing.assert_array_equal(rows.image, wanted)
    assert 0 < len(made) <= 4 * len(SEGMENTS)  # of some 40 strips each, with one or two inputs


def test_another_shape_is_refused() -> None:
    run, _ = started(Size(12, 10), 3)
    call = run.ready()
    assert call is not None
    with pytest.raises(EngineError, match=r"expected y of shape \(1, 4, 4, 10\)"):
        run.done(call, {"y": np.zeros((1, WIDE, 3, 10), np.float32)})


@pytest.mark.parametrize("index", [index for index, one in enumerate(SEGMENTS) if one.halo])
def test_a_missing_halo_is_seen(index: int) -> None:
    """The planted fault, in every segment that has one."""
    faulty = list(SEGMENTS)
    faulty[index] = msgspec.structs.replace(SEGMENTS[index], halo=0)
    size = Size(12, 10)
    run, rows = started(size, 3, segments=faulty)
    finished(run)
    assert apart(rows.image, size) > 100 * CLOSE


class _Greedy(RowMoments):
    """Counts the row above each strip twice, as a halo would be."""

    def add(self, top: int, rows: Array) -> None:
        super().add(top, rows)
        self._spread[:, top] *= 2


class _Averaging(RowMoments):
    """Averages variances of rows, as if all had one mean."""

    def normalisers(self, groups: int, eps: float) -> tuple[Array, Array]:
        mean, _ = super().normalisers(groups, eps)
        within = self._spread.reshape(groups, -1).mean(axis=1) / self._width
        return mean, np.repeat(1 / np.sqrt(within + eps), WIDE // groups).astype(np.float32)


@pytest.mark.parametrize("faulty", [_Greedy, _Averaging])
def test_wrong_statistics_are_seen(faulty: type[RowMoments], monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted faults of tiled group norms."""
    monkeypatch.setattr(subject, "RowMoments", faulty)
    size = Size(12, 10)
    assert apart(restored(size, 3), size) > 100 * CLOSE


def test_rows_of_inputs_are_asked_for_as_needed() -> None:
    """An image is read strip by strip, never as a whole."""
    asked: list[tuple[int, int]] = []
    size = Size(12, 10)
    inputs = given(size)

    def reader(name: str) -> Callable[[int, int], Array]:
        def read(top: int, count: int) -> Array:
            asked.append((top, count))
            return inputs[name][:, top : top + count]

        return read

    steps = [
        replace(step, height=4) for step in plan_segments(SEGMENTS, size, channels={"input": 2, "noise": 4}, budget=1)
    ]
    run = Segmented("encode", steps, inputs={name: reader(name) for name in inputs}, output=Rows())
    finished(run)
    assert asked == [(0, 5), (3, 6), (7, 5), (0, 4), (2, 4)]
