"""Which sessions are opened when, for which shapes, on which device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lqhq.runtime import bundle_sessions as subject
from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.bundle_sessions import engine_profiles, open_sessions
from lqhq.runtime.engine_spec import Profile, Range
from lqhq.runtime.engines.setup import Setup
from lqhq.runtime.errors import OptionError
from lqhq.runtime.profiles import default_profiles
from lqhq.runtime.session_pool import SessionPool

Build = Callable[..., Path]
SIDES = Range(16, 16, 32)
OWN = Profile(batch=Range(1, 1, 2), height=SIDES, width=SIDES)


class Session:
    def __init__(self, engine: str, graph: Any, setup: Setup) -> None:
        self.engine, self.graph, self.setup, self.closed = engine, graph, setup, False
        self.largest, self.profiles = None, ()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Session]:
    found: list[Session] = []

    def open_session(engine: str, graph: Any, setup: Setup) -> Session:
        found.append(Session(engine, graph, setup))
        return found[-1]

    monkeypatch.setattr(subject, "open_session", open_session)
    return found


def setup(**options: Any) -> Setup:
    fields: dict[str, Any] = {"device": None, "threads": 1, "profiles": (), "cache": None, "say": print}
    return Setup(**fields | options)


def test_a_pipeline_is_opened_at_once(guided_bundle: Build, opened: list[Session]) -> None:
    sessions = open_sessions(open_bundle(guided_bundle(), verified=None), "onnx", "fp32", setup())
    assert not isinstance(sessions, SessionPool)
    assert [one.graph.role for one in opened] == list(sessions) == ["reduce", "encode", "decode"]
    assert [set(one.setup.keep) for one in opened] == [set(), {"cond"}, set()]


@pytest.mark.parametrize("latent", [False, True])
def test_one_that_cannot_be_opened_closes_the_others(
    request: pytest.FixtureRequest, opened: list[Session], monkeypatch: pytest.MonkeyPatch, latent: bool
) -> None:
    folder = request.getfixturevalue("latent_bundle" if latent else "guided_bundle")()
    real = subject.open_session

    def failing(engine: str, graph: Any, setup: Setup) -> Any:
        if graph.role == "decode":
            raise OptionError("engine", found="a test", expected="nothing", mend="Stop.")
        return real(engine, graph, setup)

    monkeypatch.setattr(subject, "open_session", failing)
    with pytest.raises(OptionError, match="a test"):
        open_sessions(open_bundle(folder, verified=None), "tensorrt", "fp32", setup())
    assert [one.closed for one in opened] == [True, True]


def test_latents_are_a_pool_of_which_one_is_opened(latent_bundle: Build, opened: list[Session]) -> None:
    bundle = open_bundle(latent_bundle(worded=True, tagged=True), verified=None)
    sessions = open_sessions(bundle, "onnx", "fp32", setup())
    assert isinstance(sessions, SessionPool)
    parts = ["encode/00", "encode/01", "encode/02", "decode/00", "decode/01", "decode/02"]
    assert list(sessions) == ["encode", "denoise", "decode", "text", "tag", *parts]
    assert [one.graph.role for one in opened] == ["encode"]
    assert sessions["text"].setup.keep == frozenset({"cond"})  # type: ignore[attr-defined]
    assert sessions["denoise"].setup.keep == frozenset()  # type: ignore[attr-defined]


def test_a_thrifty_pool_holds_one_session_for_good(latent_bundle: Build, opened: list[Session]) -> None:
    sessions: Any = open_sessions(open_bundle(latent_bundle(), verified=None), "onnx", "fp32", setup(), thrifty=True)
    sessions.alone = False
    for name in ("encode", "decode/00", "denoise"):
        sessions[name]
    assert [one.closed for one in opened] == [True, True, False]


@pytest.mark.parametrize(("device", "segments"), [(None, "auto"), ("cuda:1", "cuda:1")])
def test_built_engines_are_opened_at_once_and_segments_by_onnx(
    latent_bundle: Build, opened: list[Session], device: str | None, segments: str
) -> None:
    bundle = open_bundle(latent_bundle(), verified=None)
    sessions: Any = open_sessions(bundle, "tensorrt", "fp32", setup(device=device, profiles=(OWN,)))
    assert [(one.engine, one.graph.role) for one in opened] == [
        ("tensorrt", "encode"),
        ("tensorrt", "denoise"),
        ("tensorrt", "decode"),
    ]
    assert {one.setup.profiles[0].height for one in opened} == {Range(8, 8, 16)}  # latents
    part = sessions["decode/01"]
    assert (part.engine, part.setup.profiles, part.setup.device) == ("onnx", (), segments)
    assert part.graph.path.name == "decode.01.onnx"


def test_segments_of_onnx_are_where_their_role_is(latent_bundle: Build, opened: list[Session]) -> None:
    sessions: Any = open_sessions(open_bundle(latent_bundle(), verified=None), "onnx", "fp32", setup(device="cpu"))
    assert sessions["encode/00"].setup.device == "cpu"
    assert sessions["encode/00"].setup.threads == 1
    plain: Any = open_sessions(open_bundle(latent_bundle("again"), verified=None), "onnx", "fp32", setup())
    assert plain["encode/00"].setup.device is None


def test_profiles_by_engine_and_role(latent_bundle: Build, guided_bundle: Build, tiny_bundle: Build) -> None:
    latent = open_bundle(latent_bundle(worded=True, tagged=True), verified=None).manifest
    guided = open_bundle(guided_bundle(), verified=None).manifest
    tiny = open_bundle(tiny_bundle(), verified=None).manifest
    assert engine_profiles(latent, "decode", "onnx", (OWN,)) == ()
    assert engine_profiles(latent, "decode", "tensorrt") == default_profiles(latent, "decode")
    halved = Range(8, 8, 16)
    assert engine_profiles(latent, "decode", "tensorrt", (OWN,)) == (
        Profile(batch=Range(1, 1, 2), height=halved, width=halved),
    )
    assert engine_profiles(tiny, "denoise", "tensorrt-rtx", (OWN,)) == (OWN,)
    one = Range(1, 1, 1)
    vectors = Profile(batch=Range(1, 1, 2), height=one, width=one)
    for manifest, role in ((guided, "encode"), (latent, "text"), (latent, "tag")):
        assert engine_profiles(manifest, role, "tensorrt", (OWN, OWN)) == (vectors,)  # type: ignore[arg-type]


def test_sides_that_are_no_latents_are_refused(latent_bundle: Build, opened: list[Session]) -> None:
    """The planted fault: 18 pixels are no whole number of latents of 4."""
    bundle = open_bundle(latent_bundle(factor=4), verified=None)
    odd = Range(18, 18, 18)
    with pytest.raises(OptionError, match="18x18@1-2: found sides 18 to 18; expected multiples of 4"):
        open_sessions(
            bundle, "tensorrt", "fp32", setup(profiles=(Profile(batch=Range(1, 1, 2), height=odd, width=odd),))
        )
    assert opened == []
