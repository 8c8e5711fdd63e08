"""The pool opens what is asked for, once, and holds one stage at a time where it is told to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.restorer import Restorer
from lqhq.runtime.session_pool import SessionPool

NAMES = ("encode", "denoise", "decode", "encode/00", "decode/00", "decode/01")


class Session:
    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log
        self.largest, self.profiles = (96, ("shapes",)) if name == "denoise" else (None, ())
        log.append(f"+{name}")

    def close(self) -> None:
        self.log.append(f"-{self.name}")


@pytest.fixture
def pool() -> tuple[SessionPool, list[str]]:
    return logged()


def logged(**options: bool) -> tuple[SessionPool, list[str]]:
    log: list[str] = []
    return SessionPool(NAMES, lambda name: Session(name, log), **options), log  # type: ignore[arg-type,return-value]


def test_each_is_opened_when_needed_and_once(pool: Any) -> None:
    sessions, log = pool
    assert (list(sessions), len(sessions), log) == (list(NAMES), 6, [])
    assert sessions["encode"] is sessions["encode"]
    assert sessions["decode/01"].name == "decode/01"
    assert log == ["+encode", "+decode/01"]
    assert list(sessions.opened) == ["encode", "decode/01"]


@pytest.mark.parametrize("name", ["text", "decode/02", "", "decode/"])
def test_there_are_no_others(pool: Any, name: str) -> None:
    sessions, log = pool
    with pytest.raises(KeyError):
        sessions[name]
    assert log == []


def test_roles_stay_open_and_one_segment(pool: Any) -> None:
    sessions, log = pool
    for name in ("encode", "decode", "encode/00", "decode/00", "decode/00", "decode/01", "denoise"):
        sessions[name]
    assert log == [
        "+encode",
        "+decode",
        "+encode/00",
        "-encode/00",
        "+decode/00",
        "-decode/00",
        "+decode/01",
        "+denoise",
    ]
    assert list(sessions.opened) == ["encode", "decode", "decode/01", "denoise"]


@pytest.mark.parametrize("thrifty", [False, True])
def test_alone_holds_one_of_all(thrifty: bool) -> None:
    sessions, log = logged(thrifty=thrifty)
    sessions.alone = not thrifty  # thrift is for good
    assert sessions.alone
    for name in ("encode", "encode", "decode/00", "decode/01", "decode", "denoise"):
        sessions[name]
    assert log == [
        *(
            "+encode",
            "-encode",
            "+decode/00",
            "-decode/00",
            "+decode/01",
            "-decode/01",
            "+decode",
            "-decode",
            "+denoise",
        )
    ]


def test_an_unknown_name_closes_nothing(pool: Any) -> None:
    sessions, log = pool
    sessions.alone = True
    sessions["encode"]
    with pytest.raises(KeyError):
        sessions["text"]
    assert log == ["+encode"]


def test_what_an_earlier_job_left_open_is_closed_as_well(pool: Any) -> None:
    sessions, log = pool
    for name in NAMES[:4]:
        sessions[name]
    sessions.alone = True
    sessions["encode"]
    assert list(sessions.opened) == ["encode"]
    assert sorted(log[4:]) == sorted(f"-{name}" for name in NAMES[1:4])
    sessions.alone = False
    sessions["decode"]
    assert list(sessions.opened) == ["encode", "decode"]


def test_closing_twice_and_opening_again(pool: Any) -> None:
    sessions, log = pool
    for name in NAMES[:4]:
        sessions[name]
    sessions.close()
    sessions.close()
    assert not sessions.opened
    assert len(log) == 8
    sessions["encode"]
    assert log[-1] == "+encode"


def most_open(restorer: Restorer, image: np.ndarray, monkeypatch: pytest.MonkeyPatch, memory: int) -> int:
    """The most sessions that are open at one time during a restoration."""
    seen: list[int] = []
    real = SessionPool.__getitem__

    def counted(pool: SessionPool, name: str) -> Any:
        found = real(pool, name)
        seen.append(len(pool.opened))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(SessionPool, "__getitem__", counted)
        restorer.restore(image, memory=memory)
    return max(seen)


def test_a_small_budget_holds_one_engine_at_a_time(
    latent_bundle: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.random.default_rng(1).random((20, 20, 3), np.float32)
    with Restorer.open(open_bundle(latent_bundle(), verified=None), threads=1) as restorer:
        free = restorer.plan(image, memory=1 << 40)
        least = free.peak_bytes - 1
        assert (free.alone, restorer.plan(image, memory=least).alone) == (False, True)
        assert most_open(restorer, image, monkeypatch, 1 << 40) == 3
        assert most_open(restorer, image, monkeypatch, least) == 1  # though all were open before
        monkeypatch.setattr(SessionPool, "_close", lambda pool, names: None)  # the planted fault
        restorer.restore(image, memory=1 << 40)
        assert most_open(restorer, image, monkeypatch, least) == 3


def test_the_shapes_of_engines_are_remembered_when_they_are_closed(pool: Any) -> None:
    """Tiles of the next image are chosen by them. Planted: what is open now says nothing of them."""
    sessions, _ = pool
    sessions.alone = True
    for name in ("encode", "denoise", "decode"):
        sessions[name]
    assert list(sessions.opened) == ["decode"]
    assert sessions.profiles == {"denoise": ("shapes",)}
