"""Flavours: the one that is installed, and what is said of those that are not, broken, old, or lack a target."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lqhq.runtime.engines.trt import flavour as f
from lqhq.runtime.errors import EngineError
from lqhq.runtime.nvidia import Nvidia, NvidiaGpu

NOBODY = Nvidia(fault="no NVIDIA driver (libcuda.so.1 is missing)")
H100, ADA = (Nvidia("580.1", (NvidiaGpu(name, sm, 24 << 30),)) for name, sm in (("H100", (9, 0)), ("RTX 4090", (8, 9))))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """A function that puts a module `tensorrt` of the given source in front of any other."""

    def write(source: str) -> None:
        (tmp_path / "tensorrt.py").write_text(source)
        monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(tmp_path)
    f.load_flavour.cache_clear()
    yield write
    f.load_flavour.cache_clear()
    sys.modules.pop("tensorrt", None)


@pytest.fixture
def rtx() -> f.LoadedFlavour:
    return f.load_flavour("tensorrt-rtx")


def test_rtx_names_its_targets_from_its_own_members(rtx: f.LoadedFlavour) -> None:
    assert {"sm86", "sm89", "sm120"} <= set(rtx.targets)
    assert list(rtx.targets) == sorted(rtx.targets, key=lambda name: int(name[2:]))
    assert "sm90" not in rtx.targets
    assert rtx.version.startswith(f"{rtx.major}.")
    assert f.load_flavour("tensorrt-rtx") is rtx


def test_a_flavour_that_is_absent_says_how_to_install_it(fake: Callable[[str], None]) -> None:
    fake("raise ModuleNotFoundError('No module named tensorrt', name='tensorrt')")
    with pytest.raises(EngineError, match=r"not installed.*pip install '\.\[tensorrt\]' --extra-index-url"):
        f.load_flavour("tensorrt")


@pytest.mark.parametrize(
    "source",
    [
        "raise ImportError('libnvinfer.so.10: cannot open shared object file')",
        "raise OSError('libnvinfer.so.10: cannot open shared object file')",
        "raise FileNotFoundError('Could not find: libnvinfer.so.10. Is it on your LD_LIBRARY_PATH?')",
        "import libnvinfer_that_is_not_there",
    ],
)
def test_bindings_without_libraries_are_told_from_an_absent_flavour(fake: Callable[[str], None], source: str) -> None:
    fake(source)
    with pytest.raises(EngineError, match=r"a broken installation: .*libnvinfer"):
        f.load_flavour("tensorrt")


@pytest.mark.parametrize("version", ["8.6.1", "unknown"])
def test_a_version_that_types_weakly_is_refused(fake: Callable[[str], None], version: str) -> None:
    fake(f"__version__ = {version!r}")
    with pytest.raises(EngineError, match="expected TensorRT 10 or newer"):
        f.load_flavour("tensorrt")


def test_full_tensorrt_builds_for_the_gpu_that_is_there_alone(fake: Callable[[str], None]) -> None:
    fake("__version__ = '10.16.0'\nclass ILogger: pass\nclass ComputeCapability: __members__ = {'SM80': 1}")
    full = f.load_flavour("tensorrt")
    assert full.targets == ()
    assert f.build_targets(full, (), nvidia=H100) == ("sm90",)
    with pytest.raises(EngineError, match="name no target"):
        f.build_targets(full, ("sm89",))
    with pytest.raises(EngineError, match=r"found no NVIDIA driver.*use engine tensorrt-rtx"):
        f.build_targets(full, (), nvidia=NOBODY)


def test_rtx_says_why_it_has_no_hopper(rtx: f.LoadedFlavour) -> None:
    with pytest.raises(EngineError, match=r"TensorRT-RTX has no Hopper target; use engine tensorrt or onnx \(.*sm89"):
        f.build_targets(rtx, ("sm89", "sm90"))
    with pytest.raises(EngineError, match="no Hopper target"):
        f.build_targets(rtx, (), nvidia=H100)
    with pytest.raises(EngineError, match="has no target sm70"):
        f.build_targets(rtx, ("sm70",))
    assert f.refusal(rtx, "sm89") is None


def test_rtx_takes_the_named_targets_or_those_of_the_gpu(rtx: f.LoadedFlavour) -> None:
    assert f.build_targets(rtx, ("sm120", "sm86"), nvidia=NOBODY) == ("sm120", "sm86")
    assert f.build_targets(rtx, (), nvidia=ADA) == ("sm89",)
    with pytest.raises(EngineError, match="Name the GPUs to build for: sm75, sm80"):
        f.build_targets(rtx, (), nvidia=NOBODY)
    with pytest.raises(EngineError, match="each target once"):
        f.build_targets(rtx, ("sm89", "sm89"))
