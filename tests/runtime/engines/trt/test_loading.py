"""Opening what the cache gives, with a stand-in for the module: refused, stale, foreign and wrong engines."""

from __future__ import annotations

import enum
from types import SimpleNamespace
from typing import Any

import pytest

from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.engine_spec import Profile, Range
from lqhq.runtime.engines.trt import loading
from lqhq.runtime.engines.trt.loading import check_engine, open_engine
from lqhq.runtime.errors import EngineError
from lqhq.runtime.precision import Plan

PLAN = Plan(weights={"float32": 4}, layers={})
PROFILE = Profile(batch=Range(1, 1, 1), height=Range(8, 8, 8), width=Range(8, 8, 8))


class Validity(enum.Enum):
    VALID, SUBOPTIMAL, INVALID = range(3)


class Diagnostics(enum.IntEnum):
    VERSION_MISMATCH = 1
    UNSUPPORTED_CC = 2
    OLD_CUDA_DRIVER = 4


class Mode(enum.Enum):
    INPUT, OUTPUT = range(2)


class Engine:
    """The tiny graph's tensors."""

    def __init__(self, **changes: Any) -> None:
        image = ("INPUT", "FLOAT", (-1, 3, -1, -1))
        self.tensors = {"state": image, "t": ("INPUT", "FLOAT", (-1,)), "pred": ("OUTPUT", *image[1:])} | changes
        self.num_io_tensors = len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> Mode:
        return Mode[self.tensors[name][0]]

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name=self.tensors[name][1])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name][2]


class Cache:
    """What `engine_for` gives, one after another, and what becomes of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *given: tuple[bytes, bool]) -> None:
        self.given, self.log = list(given), []
        monkeypatch.setattr(loading, "confirm", lambda cached: self.log.append(f"confirm {cached.name}"))
        monkeypatch.setattr(loading, "reject", lambda cached: self.log.append(f"reject {cached.name}"))

    def find(self) -> Any:
        data, fresh = self.given.pop(0)
        record = SimpleNamespace(parsed=PLAN)
        return SimpleNamespace(name=data.decode(), read=lambda: memoryview(data), fresh=fresh, record=record)


def flavour(answers: dict[bytes, tuple[Validity, int]], opens: dict[bytes, Any], *, rtx: bool = True) -> Any:
    class Runtime:
        def __init__(self, logger: object) -> None:
            assert logger == "logger"

        def deserialize_cuda_engine(self, data: memoryview) -> Any:
            return opens.get(bytes(data))

    if rtx:
        Runtime.get_engine_validity = lambda self, data: answers.get(bytes(data), (Validity.VALID, 0))  # type: ignore[attr-defined]
    module = SimpleNamespace(
        Runtime=Runtime, EngineValidity=Validity, EngineInvalidityDiagnostics=Diagnostics, TensorIOMode=Mode
    )
    words = SimpleNamespace(clear=lambda: None, said=lambda: "magic tag does not match")
    return SimpleNamespace(module=module, logger="logger", words=words, title="TensorRT-RTX", version="1.7")


@pytest.fixture(autouse=True)
def _no_inspector(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object) -> Any:
        raise EngineError("engine inspector", found="nothing", expected="JSON", mend="Build it again.")

    monkeypatch.setattr(loading, "inspect_engine", nothing)


@pytest.fixture
def graph(tiny_bundle):
    return open_bundle(tiny_bundle()).graph("denoise", "fp32")


@pytest.mark.parametrize("rtx", [True, False])
def test_an_engine_that_fits_is_opened_and_confirmed(graph, monkeypatch, rtx):
    cache, engine = Cache(monkeypatch, (b"good", False)), Engine()
    opened = open_engine(graph, flavour({}, {b"good": engine}, rtx=rtx), cache.find, say=lambda _line: None)
    assert opened.engine is engine
    assert cache.log == ["confirm good"]


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({b"old": (Validity.INVALID, 1 | 4)}, "version mismatch, old cuda driver"),
        ({b"old": (Validity.INVALID, 0)}, "no reason given"),
        ({}, "magic tag does not match"),  # it is called valid, and does not open
    ],
)
def test_a_refused_engine_is_explained_and_built_again(graph, monkeypatch, answers, reason):
    cache, said = Cache(monkeypatch, (b"old", False), (b"new", True)), list[str]()
    open_engine(graph, flavour(answers, {b"new": Engine()}), cache.find, say=said.append)
    assert cache.log == ["reject old", "confirm new"]
    assert said[0] == f"denoise.fp32: the engine in the cache does not open here ({reason}); building it again"


def test_a_new_engine_that_is_refused_ends_it(graph, monkeypatch):
    cache = Cache(monkeypatch, (b"old", False), (b"new", True), (b"never", True))
    with pytest.raises(EngineError, match="a new engine that does not open: unsupported cc"):
        open_engine(graph, flavour({b"new": (Validity.INVALID, 2)}, {}), cache.find, say=lambda _line: None)
    assert cache.log == ["reject old", "reject new"]
    assert len(cache.given) == 1


def test_a_cache_that_gives_the_same_again_does_not_hang(graph, monkeypatch):
    cache = Cache(monkeypatch, *[(b"old", False)] * 10)
    with pytest.raises(EngineError, match="does not open"):
        open_engine(graph, flavour({}, {}), cache.find, say=lambda _line: None)


def test_a_suboptimal_engine_is_used_and_said(graph, monkeypatch):
    cache, said = Cache(monkeypatch, (b"slow", False)), list[str]()
    open_engine(graph, flavour({b"slow": (Validity.SUBOPTIMAL, 1)}, {b"slow": Engine()}), cache.find, say=said.append)
    assert "slower than one built anew: version mismatch" in said[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pred": ("OUTPUT", "HALF", (-1, 3, -1, -1))}, "output pred is float16"),
        ({"pred": ("OUTPUT", "FLOAT", (-1, 4, -1, -1))}, r"output pred has the shape \[-1, 4, -1, -1\]"),
        ({"extra": ("OUTPUT", "FLOAT", (-1,))}, "extra"),
    ],
)
def test_planted_engine_that_is_another_is_caught(graph, changes, message):
    record: Any = SimpleNamespace(parsed=PLAN)
    with pytest.raises(EngineError, match=message):
        check_engine("x", graph, flavour({}, {}), Engine(**changes), record, say=lambda _line: None)


def test_an_engine_that_is_another_is_not_found_again(graph, monkeypatch):
    cache, wrong = Cache(monkeypatch, (b"wrong", False)), Engine(pred=("OUTPUT", "HALF", (-1, 3, -1, -1)))
    with pytest.raises(EngineError, match="output pred is float16"):
        open_engine(graph, flavour({}, {b"wrong": wrong}), cache.find, say=lambda _line: None)
    assert cache.log == ["reject wrong"]
