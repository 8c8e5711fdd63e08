"""Kernels kept between starts: read, refused, written only when there are new ones."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lqhq.runtime.engine_cache.key import Gpu, Here
from lqhq.runtime.engines.trt.kernel_cache import KernelCache
from lqhq.runtime.engines.trt.loading import OpenedEngine

HERE = Here(versions={"tensorrt-rtx": "1.7"}, gpu=Gpu(name="NVIDIA L4", sm="sm89"), driver="580.1")


class Config:
    """A runtime configuration with its cache."""

    def __init__(self, *, takes: bool = True) -> None:
        self.takes, self.data, self.log = takes, b"", list[str]()

    def create_runtime_cache(self) -> Config:
        return self

    def deserialize(self, data: bytes) -> bool:
        if self.takes:
            self.data = bytes(data)
        return self.takes

    def serialize(self) -> bytes:
        return self.data

    def set_runtime_cache(self, cache: object) -> bool:
        assert cache is self
        self.log.append("cache")
        return True

    def set_execution_context_allocation_strategy(self, strategy: str) -> None:
        self.log.append(strategy)


def opened(config: Config) -> OpenedEngine:
    record: Any = SimpleNamespace(sha256="ab" * 32, key=SimpleNamespace(flavour="tensorrt-rtx", version="1.7"))
    return OpenedEngine(engine=SimpleNamespace(create_runtime_config=lambda: config), runtime=object(), record=record)


def kernels(config: Config, folder: Path, *, here: Here = HERE, said: list[str] | None = None) -> KernelCache:
    return KernelCache(opened(config), folder=folder, here=here, say=(said if said is not None else []).append)


def test_what_was_made_is_there_at_the_next_start(tmp_path: Path) -> None:
    first, second = Config(), Config()
    made = kernels(first, tmp_path)
    assert made.config("USER_MANAGED") is first
    assert first.log == ["cache", "USER_MANAGED"]
    first.data = b"kernels"
    made.save()
    kernels(second, tmp_path)
    assert second.data == b"kernels"


def test_nothing_is_written_where_nothing_is_new(tmp_path: Path) -> None:
    config = Config()
    kernels(config, tmp_path).save()
    assert list(tmp_path.iterdir()) == []
    config.data = b"kernels"
    kernels(config, tmp_path).save()
    (file,) = tmp_path.iterdir()
    before = file.stat().st_mtime_ns, file.stat().st_ino
    kernels(Config(), tmp_path).save()
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == before


def test_refused_kernels_are_said_and_made_anew(tmp_path: Path) -> None:
    config, said = Config(), list[str]()
    made = kernels(config, tmp_path)
    config.data = b"kernels"
    made.save()
    refusing = Config(takes=False)
    made = kernels(refusing, tmp_path, said=said)
    assert "is not used" in said[0]
    refusing.data = b"kernels"  # the same again, for this driver: written, since what is there was refused
    made.save()


@pytest.mark.parametrize("here", [Here(versions={}, gpu=HERE.gpu), Here(versions={}, driver="580.1")])
def test_an_unknown_machine_keeps_nothing(tmp_path: Path, here: Here) -> None:
    config = Config()
    made = kernels(config, tmp_path, here=here)
    config.data = b"kernels"
    made.save()
    assert list(tmp_path.iterdir()) == []
