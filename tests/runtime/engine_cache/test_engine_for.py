"""Found or built: what reaches the builder, and where its timing cache goes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.engine_cache import engine_for as module
from lqhq.runtime.engine_cache.engine_for import engine_for
from lqhq.runtime.engine_cache.key import Gpu, Here
from lqhq.runtime.engine_spec import EngineSpec, Profile, Range
from lqhq.runtime.errors import CancelledError
from lqhq.runtime.precision import Plan

L4 = Gpu(name="NVIDIA L4", sm="sm89")
HERE = Here(versions={"tensorrt": "11.4.0.106", "tensorrt-rtx": "1.7.1.116"}, gpu=L4, driver="570.86.15")
PROFILE = Profile(batch=Range(1, 1, 1), height=Range(64, 64, 64), width=Range(64, 64, 64))


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Calls `engine_for`; answers with what the builder was given each time."""
    given = []

    def build(graph, spec, *, progress, cancel, timing_cache):
        given.append(SimpleNamespace(spec=spec, cancel=cancel, timing_cache=timing_cache))
        plan, version = Plan(weights={}, layers={}), HERE.versions[spec.flavour]
        return SimpleNamespace(
            data=memoryview(b"engine"),
            flavour=spec.flavour,
            version=version,
            parsed=plan,
            state="unverified",
            notes=(),
            seconds=1.0,
            timing_cache=b"timed" if spec.flavour == "tensorrt" else None,
        )

    monkeypatch.setattr(module, "build_engine", build)

    def ask(flavour, targets=(), here=HERE, profile=PROFILE, **options):
        spec = EngineSpec(flavour=flavour, targets=targets, profiles=(profile,))
        graph = open_bundle("demo").graph("denoise", "fp32")
        return engine_for(graph, spec, here, folder=tmp_path / "e", say=lambda _: None, verified=None, **options)

    return SimpleNamespace(ask=ask, given=given, folder=tmp_path / "e")


def test_the_timing_cache_is_kept_between_builds(asked):
    other = Profile(batch=Range(1, 1, 2), height=PROFILE.height, width=PROFILE.width)
    assert asked.ask("tensorrt").fresh
    assert not asked.ask("tensorrt").fresh
    assert asked.ask("tensorrt", profile=other).fresh
    assert [one.timing_cache for one in asked.given] == [None, b"timed"]
    asked.ask("tensorrt", here=Here(versions=HERE.versions, gpu=L4, driver="580.1"))
    assert asked.given[-1].timing_cache is None


def test_a_damaged_timing_cache_is_none(asked):
    asked.ask("tensorrt")
    (side,) = asked.folder.glob("timing.*.side")
    side.write_bytes(side.read_bytes() + b"x")
    next(asked.folder.glob("*.json")).unlink()
    asked.ask("tensorrt")
    assert [one.timing_cache for one in asked.given] == [None, None]


def test_rtx_keeps_none(asked):
    engine = asked.ask("tensorrt-rtx")
    assert engine.record.key.targets == ("sm89",)
    assert asked.given[0].timing_cache is None
    assert list(asked.folder.glob("*.side")) == []


def test_cancel_reaches_the_builder(asked, monkeypatch):
    def build(graph, spec, *, progress, cancel, timing_cache):
        assert cancel()
        raise CancelledError("build", found="a stop", expected="to go on", mend="")

    monkeypatch.setattr(module, "build_engine", build)
    with pytest.raises(CancelledError):
        asked.ask("tensorrt-rtx", cancel=lambda: True)
    assert list(asked.folder.glob("*.json")) == []
