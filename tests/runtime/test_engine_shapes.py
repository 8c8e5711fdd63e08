"""What engines take, read off their sessions without opening any."""

from __future__ import annotations

import pickle
from types import SimpleNamespace
from typing import Any

from lqhq.runtime.engine_shapes import EngineShapes
from lqhq.runtime.engine_spec import Profile, Range
from lqhq.runtime.session_pool import SessionPool

SIDES = Range(8, 8, 64)
PROFILE = Profile(batch=Range(1, 1, 2), height=SIDES, width=SIDES)
MANIFEST: Any = SimpleNamespace(segments={"encode": (), "decode": ()})


def session(largest: int | None) -> Any:
    return SimpleNamespace(largest=largest, profiles=() if largest is None else (PROFILE,), close=lambda: None)


def test_only_engines_with_a_limit_are_listed() -> None:
    shapes = EngineShapes.of({"reduce": session(64), "encode": session(None)}, MANIFEST)
    assert shapes == EngineShapes(limits={"reduce": 64}, profiles={"reduce": (PROFILE,)})
    assert shapes.segmented == frozenset()


def test_a_pool_is_segmented_and_none_of_its_sessions_is_opened() -> None:
    opened: list[str] = []

    def open_one(name: str) -> Any:
        opened.append(name)
        return session(64)

    pool = SessionPool(("encode", "denoise", "decode"), open_one)
    assert EngineShapes.of(pool, MANIFEST) == EngineShapes(segmented=frozenset({"encode", "decode"}))
    assert opened == []
    pool["denoise"]
    assert EngineShapes.of(pool, MANIFEST).profiles == {"denoise": (PROFILE,)}  # planted: what is open is forgotten


def test_it_travels_to_another_process() -> None:
    shapes = EngineShapes.of({"denoise": session(64)}, MANIFEST)
    assert pickle.loads(pickle.dumps(shapes)) == shapes
