"""Each check of `lqhq doctor`, working and broken."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from lqhq.runtime import bundle, image_write, machine, verified
from lqhq.runtime.engines import onnx as engine
from lqhq.runtime.errors import EngineError, ImageError
from lqhq.tools.cli import machine_checks as checks
from lqhq.tools.cli.extras import Package


def raising(error: Exception) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


def fault(kind: type[ImageError] | type[EngineError]) -> Callable[..., Any]:
    return raising(kind("x", found="a broken library", expected="a whole one", mend="Mend it."))


def test_the_graph_in_hex_is_what_it_says() -> None:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "double", value[:1], value[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    assert onnx.load_from_string(checks.DOUBLE) == made


def test_what_works_is_ok(tiny_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bundle.SHIPPED, "demo", tiny_bundle(scale=4))
    found = {check.__name__: check() for check in checks.CHECKS}
    assert {name: one.status for name, one in found.items()} == dict.fromkeys(found, "ok")
    assert "16 x 16 px became 64 x 64 px" in found["check_demo"].found
    assert "CPUExecutionProvider" in found["check_engine"].found


def broken_engine(patch: pytest.MonkeyPatch) -> checks.Check:
    patch.setattr(engine.OnnxSession, "run", fault(EngineError))
    return checks.check_engine()


def wrong_engine(patch: pytest.MonkeyPatch) -> checks.Check:
    import numpy as np

    patch.setattr(engine.OnnxSession, "run", lambda *_: {"y": np.float32([2, 4])})
    return checks.check_engine()


def no_engine(patch: pytest.MonkeyPatch) -> checks.Check:
    patch.setitem(sys.modules, "onnxruntime", None)
    return checks.check_engine()


def no_codec(patch: pytest.MonkeyPatch) -> checks.Check:
    patch.setitem(sys.modules, "pyvips", None)
    return checks.check_images()


def broken_codec(patch: pytest.MonkeyPatch) -> checks.Check:
    patch.setattr(image_write, "write_image", fault(ImageError))
    return checks.check_images()


def no_demo(patch: pytest.MonkeyPatch) -> checks.Check:
    patch.setitem(bundle.SHIPPED, "demo", Path("/nowhere"))
    return checks.check_demo()


@pytest.mark.parametrize("breaking", [broken_engine, wrong_engine, no_engine, no_codec, broken_codec, no_demo])
def test_what_is_broken_is_bad_and_mended(
    breaking: Callable[[pytest.MonkeyPatch], checks.Check], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = breaking(monkeypatch)
    assert found.status == "bad"
    assert found.found
    assert "pip install" in found.mend


def other_python(patch: pytest.MonkeyPatch) -> checks.Check:
    patch.setattr(sys, "version_info", (3, 10, 1))
    return checks.check_python()


def little_memory(patch: pytest.MonkeyPatch) -> checks.Check:
    patch.setattr(machine, "available_memory", lambda: 100 << 20)
    return checks.check_memory()


def no_home(patch: pytest.MonkeyPatch) -> checks.Check:
    patch.setattr(Path, "expanduser", raising(RuntimeError("no home")))
    return checks.check_cache()


def closed_cache(patch: pytest.MonkeyPatch) -> checks.Check:
    patch.setattr(os, "access", lambda *_: False)
    return checks.check_cache()


def file_for_cache(patch: pytest.MonkeyPatch) -> checks.Check:
    patch.setattr(verified, "CACHE_FILE", Path("/etc/hostname/lqhq/verified.json"))
    return checks.check_cache()


@pytest.mark.parametrize("limiting", [other_python, little_memory, no_home, closed_cache, file_for_cache])
def test_what_limits_is_a_warning(
    limiting: Callable[[pytest.MonkeyPatch], checks.Check], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = limiting(monkeypatch)
    assert found.status == "warn"
    assert found.mend


def test_processors_kept_from_us_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cpu_count", lambda: 2)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert checks.check_processors().found == "2 of 64; the rest is closed to this process"


def test_extras_that_are_missing_come_with_their_command(monkeypatch: pytest.MonkeyPatch) -> None:
    extras = {
        "export": [Package("torch", None, "2.8"), Package("onnx", "1.20", "1.18")],
        "serve": [Package("grpcio", "1.60", "1.70")],
        "done": [Package("numpy", "2.0", "")],
    }
    monkeypatch.setattr(checks, "declared_extras", lambda: extras)
    export, serve, done = checks.extra_checks()
    assert (export.status, export.found) == ("missing", "torch is missing")
    assert export.mend.startswith("pip install '.[export]' --extra-index-url")
    assert (serve.found, serve.mend) == ("grpcio 1.60 is older than 1.70", "pip install '.[serve]'")
    assert (done.status, done.found, done.mend) == ("ok", "numpy 2.0", "")
