"""The VAE as the runtime runs it, whole or in strips, through its own driver and sessions. No torch in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from measuring.entry import Entry
from numpy.typing import NDArray

from lqhq.runtime.driver import drive
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.geometry import Size
from lqhq.runtime.job import Job
from lqhq.runtime.latent_spec import Segment
from lqhq.runtime.segment_plan import Step, plan_segments
from lqhq.runtime.segments import Segmented, segment_role
from lqhq.runtime.session_pool import SessionPool

__all__ = ["opening", "planned", "strips", "vae_inputs", "whole"]

Array = NDArray[np.float32]
SEED = 20_261_125
FACTOR = 8


def vae_inputs(role: str, side: int) -> dict[str, Array]:
    """What the role is given, `[C, H, W]`, as segments name it; `side` is in latents."""
    draw = np.random.default_rng(SEED)
    latents = draw.standard_normal((4, side, side), dtype=np.float32)
    if role == "decode":
        return {"input": latents}
    image = draw.uniform(-1, 1, (3, FACTOR * side, FACTOR * side)).astype(np.float32)
    return {"input": image, "noise": latents}


def whole(file: str, role: str, side: int, threads: int) -> Entry:
    """One call of the role's graph, opened before."""
    session = OnnxSession(Path(file), threads=threads)
    names = {"input": "state" if role == "decode" else "lq", "noise": "noise"}
    feed = {names[name]: array[None] for name, array in vae_inputs(role, side).items()}

    def run() -> Array:
        (found,) = session.run(feed).values()
        return found[0]

    return Entry(run=run, answer=run, note="opened before")


def planned(segments: Sequence[Segment], inputs: Mapping[str, Array], budget: int) -> tuple[Step, ...]:
    """Strips as the runtime plans them, of `budget` bytes each at most."""
    size = Size(*inputs["input"].shape[1:])
    return plan_segments(segments, size, channels={name: len(array) for name, array in inputs.items()}, budget=budget)


def _read(parts: str, role: str) -> tuple[Path, tuple[Segment, ...]]:
    listed = msgspec.json.decode(Path(parts).read_bytes())
    return Path(listed["folder"]), msgspec.convert(listed["segments"][role], tuple[Segment, ...])


def _pool(folder: Path, role: str, segments: Sequence[Segment], threads: int) -> SessionPool:
    """As the runtime has it: one segment at a time is open."""
    files = {segment_role(role, index): folder / one.file for index, one in enumerate(segments)}
    return SessionPool(tuple(files), lambda name: OnnxSession(files[name], threads=threads, turns=True))


def strips(parts: str, role: str, side: int, threads: int, budget: int) -> Entry:
    """All segments in strips of `budget` bytes, every session opened for its turn and closed after it."""
    folder, segments = _read(parts, role)
    inputs = vae_inputs(role, side)
    steps = planned(segments, inputs, budget)
    sessions = _pool(folder, role, segments, threads)

    def run() -> Array:
        rows: list[Array] = []
        work = Segmented(
            role,
            steps,
            inputs={name: _reader(array) for name, array in inputs.items()},
            output=lambda top, values: rows.append(values.copy()),
        )
        drive([Job(work, _NoImage())], sessions)
        return np.concatenate(rows, axis=1)

    return Entry(run=run, answer=run, note=f"{sum(step.count for step in steps)} calls, {len(steps)} sessions")


def opening(parts: str, role: str, threads: int) -> Entry:
    """Open and close the session of every segment, and run none: what `strips` spends on that."""
    folder, segments = _read(parts, role)
    sessions = _pool(folder, role, segments, threads)

    def run() -> None:
        for name in sessions:
            sessions[name]
        sessions.close()

    return Entry(run=run, answer=lambda: np.zeros(0), note="nothing is run")


class _NoImage:
    """A job's sink that nobody asks."""

    image: Any = None

    def rows(self, top: int, values: Array) -> None:
        raise AssertionError("a segment's rows go to `output`")


def _reader(array: Array) -> Callable[[int, int], Array]:
    return lambda top, count: array[:, top : top + count]
