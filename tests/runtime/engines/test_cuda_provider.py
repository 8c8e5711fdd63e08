"""Why there is no CUDA provider: every state of an installation, each with its own mend."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lqhq.runtime.engines import cuda_provider
from lqhq.runtime.engines.cuda_provider import Absence, absence, prepare, require
from lqhq.runtime.engines.setup import Device
from lqhq.runtime.errors import EngineError

PLAIN, GPU = frozenset({"onnxruntime"}), frozenset({"onnxruntime-gpu"})
WELL = {"offered": True, "packages": GPU, "driver": True, "libraries": True}


def test_nothing_stands_in_the_way_of_a_whole_installation():
    assert absence(**WELL) is None
    assert absence(**WELL | {"packages": PLAIN | GPU}) is None  # the one with CUDA won


@pytest.mark.parametrize(
    ("state", "why", "mend"),
    [
        ({"offered": False, "packages": PLAIN}, "built without CUDA", "pip install 'onnxruntime-gpu[cuda,cudnn]'"),
        (
            {"offered": False, "packages": PLAIN | GPU},
            "over each other",
            "pip uninstall -y onnxruntime onnxruntime-gpu",
        ),
        ({"driver": False}, "no NVIDIA driver", "--gpus all"),
        ({"libraries": False}, "cuDNN", "pip install 'onnxruntime-gpu[cuda,cudnn]'"),
        ({"offered": False, "packages": PLAIN, "driver": False}, "no NVIDIA driver", "device 'cpu'"),
    ],
)
def test_each_absence_has_its_own_mend(state, why, mend):
    found = absence(**WELL | state)
    assert found is not None
    assert why in found.why
    assert mend in found.mend


def test_a_session_on_cuda_passes_and_a_fallback_does_not(monkeypatch):
    monkeypatch.setattr(cuda_provider, "library_loads", lambda _name: True)
    require(["CUDAExecutionProvider", "CPUExecutionProvider"], Device("cuda"))
    with pytest.raises(EngineError, match=r"fell back to CPUExecutionProvider on cuda:3.*'auto'"):
        require(["CPUExecutionProvider"], Device("cuda", 3))
    monkeypatch.setattr(cuda_provider, "library_loads", lambda name: "cublas" not in name)
    with pytest.raises(EngineError, match="libraries of CUDA"):
        require(["CPUExecutionProvider"], Device("cuda"))


def test_what_is_missing_is_told_before_a_session_is_made(monkeypatch, capsys):
    monkeypatch.setattr(cuda_provider, "library_loads", lambda _name: False)
    ort = SimpleNamespace(
        get_available_providers=lambda: ["CUDAExecutionProvider"], preload_dlls=lambda: print("noise of the loader")
    )
    with pytest.raises(EngineError, match="no NVIDIA driver"):
        prepare(ort)
    assert capsys.readouterr().out == ""


def test_the_real_packages_and_loader_answer():
    assert cuda_provider.installed() <= PLAIN | GPU
    assert cuda_provider.library_loads("libc.so.6")
    assert not cuda_provider.library_loads("libnothing.so.0")
    assert isinstance(cuda_provider._found(False, libraries=True), Absence)
