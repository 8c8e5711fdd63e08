"""The contract of `Session`, on every declared engine: those that need a GPU are marked so.

Also what holds the suite itself to account: sessions with a planted fault, each of which a rule must catch.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.engine_spec import Profile, Range
from lqhq.runtime.engines import ENGINES, open_session
from lqhq.runtime.engines.setup import Setup
from lqhq.runtime.errors import EngineError
from lqhq.runtime.session import Session

try:
    import torch
except ImportError:  # deploying on a CPU needs none
    torch = None  # type: ignore[assignment]

ON_CPU = {"onnx"}
SIDES = Range(8, 16, 64)
PROFILES = (Profile(batch=Range(1, 1, 4), height=SIDES, width=SIDES),)
Open = Callable[..., Session]
Arrays = dict[str, np.ndarray]


def cases() -> Iterator[Any]:
    """(engine, device) for each declared engine: on the CPU where it runs there, and on the GPU."""
    for engine in sorted(ENGINES):
        if engine in ON_CPU:
            yield pytest.param((engine, "cpu"), id=f"{engine} cpu")
        yield pytest.param((engine, "cuda"), id=f"{engine} cuda", marks=pytest.mark.gpu)


def opener(folder: Path, engine: str, device: str) -> Open:
    graph = open_bundle(folder).graph("denoise", "fp32")

    def opened(**options: Any) -> Session:
        setup = Setup(device=device, threads=1, profiles=PROFILES, cache=folder.parent / "engines", **options)
        return open_session(engine, graph, setup)

    return opened


@pytest.fixture(params=list(cases()))
def engine(request: pytest.FixtureRequest, tiny_bundle: Callable[..., Path]) -> Open:
    return opener(tiny_bundle(), *request.param)


def feed(count: int = 1, height: int = 8, width: int = 8) -> Arrays:
    rng = np.random.default_rng(count + height + width)
    return {
        "state": rng.standard_normal((count, 3, height, width), np.float32),
        "t": np.linspace(0.2, 1, count, dtype=np.float32),
    }


def blurred(given: Mapping[str, np.ndarray]) -> np.ndarray:
    """What the tiny graph computes: the oracle of every rule."""
    padded = np.pad(given["state"], ((0, 0), (0, 0), (1, 1), (1, 1)))
    height, width = given["state"].shape[2:]
    weights = np.outer([1, 2, 1], [1, 2, 1]) / 16
    parts = (weights[y, x] * padded[:, :, y : y + height, x : x + width] for y in range(3) for x in range(3))
    return sum(parts) * (0.5 + 0.5 * given["t"])[:, None, None, None]


def as_they_are(array: np.ndarray) -> np.ndarray:
    return array


def to_numpy(array: Any) -> np.ndarray:
    return array if isinstance(array, np.ndarray) else array.cpu().numpy()


def rule_values(opened: Open) -> None:
    """Names, types and values, for any batch and size, in any order of sizes."""
    with opened() as session:
        for shape in ((1, 8, 8), (3, 12, 20), (2, 64, 8), (1, 8, 8), (3, 12, 20)):
            fetch = session.run(feed(*shape))
            assert list(fetch) == ["pred"]
            assert fetch["pred"].dtype == np.float32
            assert fetch["pred"] == pytest.approx(blurred(feed(*shape)), abs=2e-5)


def rule_batch(opened: Open) -> None:
    """A sample is itself in any batch."""
    with opened() as session:
        whole = feed(3, 12, 12)
        together = session.run(whole)["pred"]
        for index in range(3):
            alone = session.run({name: array[index : index + 1] for name, array in whole.items()})
            assert alone["pred"][0] == pytest.approx(together[index], abs=2e-6)


def rule_views(opened: Open) -> None:
    """Feeds need not be contiguous, and are not written to."""
    with opened() as session:
        state = np.random.default_rng(0).random((2, 3, 16, 24), np.float32)
        views = {"flipped": state[:, :, ::-1, ::-1], "strided": state[:, :, ::2, ::2]}
        views["transposed"] = state.transpose(0, 1, 3, 2)
        for view in views.values():
            given = {"state": view, "t": np.float32([0.2, 0, 1])[::2]}
            before = state.copy()
            assert session.run(given)["pred"] == pytest.approx(blurred(given), abs=2e-5)
            assert np.array_equal(state, before)


def rule_own_memory(opened: Open) -> None:
    """What was fetched stays as it is when the session runs again, also where it stays on the device."""
    ways = [as_they_are] if torch is None else [as_they_are, torch.from_numpy]
    for keep, made in itertools.product((frozenset[str](), frozenset({"pred"})), ways):
        with opened(keep=keep) as session:
            first = session.run({name: made(array) for name, array in feed().items()})["pred"]
            before = to_numpy(first).copy()
            for _ in range(3):  # the second run may record a CUDA graph, the third replays it
                ones = {"state": np.ones((1, 3, 8, 8), np.float32), "t": np.float32([1])}
                second = session.run({name: made(array) for name, array in ones.items()})["pred"]
            assert np.array_equal(to_numpy(first), before)
            assert not np.array_equal(to_numpy(second), before)
        assert np.array_equal(to_numpy(first), before)  # and when it is closed


def rule_tensors(opened: Open) -> None:
    """Tensors and arrays, in any mixture, give equal results; kept outputs are arrays of the fed kind or tensors."""
    if torch is None:
        pytest.skip("device arrays are torch tensors")
    given = feed(2, 12, 16)
    tensors = {name: torch.from_numpy(array) for name, array in given.items()}
    strided = torch.from_numpy(given["state"].transpose(0, 1, 3, 2).copy()).permute(0, 1, 3, 2)
    assert not strided.is_contiguous()
    with opened() as session, opened(keep=frozenset({"pred"})) as keeping:
        wanted = session.run(given)["pred"]
        for fed in (tensors, {**given, "t": tensors["t"]}, {**tensors, "state": strided}):
            assert isinstance(session.run(fed)["pred"], np.ndarray)
            assert np.array_equal(session.run(fed)["pred"], wanted)
            kept: Any = keeping.run(fed)["pred"]
            assert isinstance(kept, torch.Tensor)
            assert np.array_equal(to_numpy(kept), wanted)
            again = keeping.run({**fed, "state": kept})["pred"]  # from stage to stage without the host
            assert to_numpy(again) == pytest.approx(blurred({**given, "state": wanted}), abs=2e-5)


WRONG: dict[str, Callable[[Arrays], Arrays]] = {
    "missing": lambda good: {"state": good["state"]},
    "foreign": lambda good: {**good, "mask": good["t"]},
    "type": lambda good: {**good, "state": good["state"].astype(np.float64)},
    "half": lambda good: {**good, "state": good["state"].astype(np.float16)},
    "axes": lambda good: {**good, "state": good["state"][0]},
    "channels": lambda good: {**good, "state": good["state"][:, :2]},
    "batch": lambda good: {**good, "t": np.ones(2, np.float32)},
    "empty": lambda good: {**good, "state": good["state"][:, :, :0]},
}


def rule_wrong_feeds(opened: Open) -> None:
    """A feed that does not fit is our error, and the session goes on."""
    with opened() as session:
        for change in WRONG.values():
            with pytest.raises(EngineError):
                session.run(change(feed()))
        assert session.run(feed())["pred"] == pytest.approx(blurred(feed()), abs=2e-5)


def rule_closing(opened: Open) -> None:
    """Closing twice is allowed; running afterwards is our error; others are not closed with it."""
    with opened() as other:
        session = opened()
        session.run(feed())
        session.close()
        session.close()
        with pytest.raises(EngineError, match="a closed session"):
            session.run(feed())
        assert other.run(feed())["pred"].shape == (1, 3, 8, 8)


def rule_largest(opened: Open) -> None:
    """What is said to be the largest tile is taken; where a limit is said, beyond it is our error."""
    with opened() as session:
        if session.largest is None:
            return
        side = session.largest
        assert session.run(feed(1, side, side))["pred"].shape == (1, 3, side, side)
        with pytest.raises(EngineError, match="built for"):
            session.run(feed(1, side + 4, side))


RULES = [rule for name, rule in sorted(globals().items()) if name.startswith("rule_")]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_contract(engine: Open, rule: Callable[[Open], None]) -> None:
    rule(engine)


def test_every_declared_engine_is_in_the_suite() -> None:
    engines = {case.values[0][0] for case in cases()}
    assert engines == set(ENGINES)
    assert all(inspect.getdoc(rule) for rule in RULES)


def faulty(kind: str, folder: Path) -> Open:
    """ONNX Runtime on the CPU, spoilt."""
    good = opener(folder, "onnx", "cpu")

    def opened(**options: Any) -> Any:
        session: Any = good(**options)
        right, buffers = session.run, {}

        def swapped(given: Any) -> Any:
            return {"pred": right(given)["pred"][:, [1, 0, 2]]}

        def aliased(given: Any) -> Any:
            fetch = right(given)
            buffer = buffers.setdefault(tuple(fetch["pred"].shape), fetch["pred"])
            buffer[...] = fetch["pred"]
            return {"pred": buffer}

        def mixed(given: Any) -> Any:
            fetch = right(given)["pred"]
            return {"pred": fetch - fetch.mean() * 1e-2 * (len(fetch) > 1)}

        def lenient(given: Any) -> Any:
            times = given.get("t", np.ones(1, np.float32))
            return right({**given, "t": np.broadcast_to(times[:1], given["state"].shape[:1])})

        def writing(given: Any) -> Any:
            fetch = right(given)
            if isinstance(given["state"], np.ndarray):
                given["state"][...] = 0
            return fetch

        session.run = {"swap": swapped, "alias": aliased, "mix": mixed, "lenient": lenient, "write": writing}[kind]
        return session

    return opened


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("swap", rule_values),
        ("alias", rule_own_memory),
        ("mix", rule_batch),
        ("lenient", rule_wrong_feeds),
        ("write", rule_views),
    ],
)
def test_planted_fault_is_caught(tiny_bundle: Callable[..., Path], kind: str, rule: Callable[[Open], None]) -> None:
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        rule(faulty(kind, tiny_bundle()))
