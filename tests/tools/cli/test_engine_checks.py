"""Doctor's lines for engines: every machine that we can think of, with stand-ins for driver and modules."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from lqhq.runtime.engines import cuda_provider
from lqhq.runtime.errors import EngineError
from lqhq.runtime.nvidia import Nvidia, NvidiaGpu
from lqhq.tools.cli import engine_checks as checks
from lqhq.tools.cli.engine_checks import cuda_check, engine_checks, flavour_check, gpu_check

NONE = Nvidia(fault="no NVIDIA driver")
L4 = Nvidia("580.65", (NvidiaGpu("NVIDIA L4", (8, 9), 23 << 30),))
H100 = Nvidia("580.65", (NvidiaGpu("NVIDIA H100", (9, 0), 80 << 30),))
TARGETS = ("sm86", "sm89", "sm120")


def installed(name: str) -> Any:
    rtx = name == "tensorrt-rtx"
    title = "TensorRT-RTX" if rtx else "TensorRT"
    return SimpleNamespace(name=name, title=title, version="1.7" if rtx else "11.1", targets=TARGETS if rtx else ())


def absent(name: str) -> Any:
    raise EngineError(f"engine {name}", found="not installed", expected="TensorRT", mend="Install it.")


@pytest.fixture
def gpu_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    offers = SimpleNamespace(get_available_providers=lambda: [cuda_provider.NAME], __version__="1.31")
    monkeypatch.setitem(sys.modules, "onnxruntime", offers)


@pytest.fixture
def torch_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks.metadata, "version", lambda _name: "2.13.0")


def test_the_gpu_is_named_or_why_there_is_none() -> None:
    assert gpu_check(NONE).status == "ok"
    assert gpu_check(L4).found.startswith("NVIDIA L4 (sm89), ")
    assert "driver 580.65" in gpu_check(L4).found
    ill = gpu_check(Nvidia(fault="an NVIDIA driver that does not answer (NVML error 9)"))
    assert (ill.status, "nvidia-smi" in ill.mend) == ("warn", True)


def test_cuda_that_ran_a_graph_is_ok(gpu_onnxruntime: None) -> None:
    found = cuda_check(L4, lambda: None)
    assert (found.status, found.found) == ("ok", "onnxruntime 1.31 ran a graph on NVIDIA L4 (sm89)")


def test_planted_wrong_answer_of_cuda_is_not_ok(gpu_onnxruntime: None) -> None:
    found = cuda_check(L4, lambda: "[2.0, 4.0]")
    assert (found.status, found.found) == ("missing", "x + x gave [2.0, 4.0]")


def test_a_fallback_of_cuda_is_told(gpu_onnxruntime: None) -> None:
    def run() -> None:
        raise EngineError("device", found="the libraries do not load", expected="CUDA", mend="pip install them")

    found = cuda_check(L4, run)
    assert (found.status, found.found, found.mend) == ("missing", "the libraries do not load", "pip install them")


def test_without_a_gpu_nobody_is_told_to_install_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cuda_check(NONE) == checks.Check("engine onnx cuda", "missing", "no NVIDIA driver", checks.NO_GPU)
    monkeypatch.setattr(cuda_provider, "installed", lambda: frozenset({"onnxruntime", "onnxruntime-gpu"}))
    assert "installed over each other" in cuda_check(NONE).found


def test_conflicting_packages_are_named_with_their_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_provider, "installed", lambda: frozenset({"onnxruntime", "onnxruntime-gpu"}))
    found = cuda_check(L4)
    assert "onnxruntime and onnxruntime-gpu are installed over each other" in found.found
    assert found.mend == "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'onnxruntime-gpu[cuda,cudnn]'"


@pytest.mark.parametrize(
    ("name", "nvidia", "load", "status", "found", "mend"),
    [
        ("tensorrt-rtx", L4, installed, "ok", "for sm86, sm89, sm120; runs on NVIDIA L4 (sm89)", ""),
        ("tensorrt-rtx", NONE, installed, "warn", "cannot run here: no NVIDIA driver", "lqhq engines build"),
        ("tensorrt-rtx", H100, installed, "warn", "TensorRT-RTX has no Hopper target", "Use engine tensorrt or onnx"),
        ("tensorrt-rtx", NONE, absent, "missing", "not installed", "pip install '.[rtx]'"),
        ("tensorrt", L4, installed, "ok", "TensorRT 11.1; runs on NVIDIA L4", ""),
        ("tensorrt", H100, installed, "ok", "runs on NVIDIA H100 (sm90)", ""),
        ("tensorrt", NONE, installed, "missing", "cannot run here: no NVIDIA driver", "Needs an NVIDIA GPU"),
        ("tensorrt", L4, absent, "missing", "not installed", "pip install '.[tensorrt]'"),
        ("tensorrt", NONE, absent, "missing", "not installed; no NVIDIA driver", "on a GPU only"),
    ],
)
def test_each_machine_has_its_own_line(
    torch_cuda: None, name: Any, nvidia: Nvidia, load: Callable[..., Any], status: str, found: str, mend: str
) -> None:
    line = flavour_check(name, nvidia, load)
    assert (line.name, line.status) == (f"engine {name}", status)
    assert found in line.found
    assert (mend in line.mend) if mend else line.mend == ""


@pytest.mark.parametrize(("version", "found"), [("2.13.0+cpu", "without CUDA"), (None, "is missing")])
def test_torch_that_has_no_gpu_is_named(monkeypatch: pytest.MonkeyPatch, version: str | None, found: str) -> None:
    """What fits `.[gpu]` already would stay as it is: the build without CUDA has to be replaced by name."""

    def read(name: str) -> str:
        if version is None:
            raise checks.metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(checks.metadata, "version", read)
    line = flavour_check("tensorrt-rtx", L4, installed)
    assert (line.status, line.mend) == ("missing", checks.NEW_TORCH if version else "pip install '.[gpu]'")
    assert found in line.found


def test_every_line_is_there_on_this_machine() -> None:
    names = [check.name for check in engine_checks()]
    assert names == ["gpu", "engine onnx cuda", "engine tensorrt", "engine tensorrt-rtx"]
