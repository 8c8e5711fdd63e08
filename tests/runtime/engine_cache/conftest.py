"""What the suites of the engine cache share: a request, and a builder that needs no TensorRT."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from lqhq.runtime.engine_cache.key import EngineKey
from lqhq.runtime.engine_cache.store import CachedEngine, obtain
from lqhq.runtime.engine_spec import Profile, Range, State
from lqhq.runtime.precision import Plan

SIDE = Range(64, 64, 64)
PARSED = Plan(weights={"float32": 8}, layers={"convolution": {"float32": 2}})


@dataclass(frozen=True)
class FakeEngine:
    data: memoryview
    version: str = "1.7.1.116"
    flavour: str = "tensorrt-rtx"
    parsed: Plan = PARSED
    state: State = "partly"
    notes: tuple[str, ...] = ("a note",)
    seconds: float = 0.5


@dataclass
class Cache:
    """A cache folder with its builder; `told` is what was said, `builds` how often it was built."""

    folder: Path
    told: list[str] = field(default_factory=list)
    builds: int = 0
    data: bytes = b"an engine of 24 bytes..."
    memory: Path | None = None

    def obtain(self, key: EngineKey) -> CachedEngine:
        def build() -> FakeEngine:
            self.builds += 1
            return FakeEngine(memoryview(self.data), version=key.version, flavour=key.flavour)

        self.told.clear()
        return obtain(key, build, folder=self.folder, say=self.told.append, verified=self.memory)

    def names(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}

    def path(self, ending: str) -> Path:
        found = [path for path in self.folder.iterdir() if path.name.endswith(ending)]
        assert len(found) == 1, found
        return found[0]


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "engines", memory=tmp_path / "verified.json")


@pytest.fixture
def key() -> EngineKey:
    return EngineKey(
        bundle="demo",
        role="denoise",
        precision="fp16",
        graph="ab" * 32,
        flavour="tensorrt-rtx",
        profiles=(Profile(batch=Range(1, 1, 4), height=SIDE, width=SIDE),),
        targets=("sm86", "sm89"),
        version="1.7.1.116",
        builder=1,
        platform="linux-x86_64",
    )


@pytest.fixture
def full(key: EngineKey) -> Callable[..., EngineKey]:
    """The same for full TensorRT, with fields replaced."""
    from lqhq.runtime.engine_cache.key import Gpu

    gpu = Gpu(name="NVIDIA L4", sm="sm89")

    def make(**fields: object) -> EngineKey:
        given = {"flavour": "tensorrt", "version": "11.4.0.106", "targets": (), "gpu": gpu, "driver": "570", **fields}
        return msgspec.structs.replace(key, **given)

    return make
