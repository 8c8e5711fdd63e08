"""The life of models: what is wrong with one is told and stops no other; reloads swap in one step."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from lqhq.runtime.errors import BundleError, OptionError
from lqhq.server.batching.batch_key import BatchKey
from lqhq.server.v2.errors import UnavailableError, UnknownModelError


def changed(bundle: Path, **fields: object) -> None:
    """Another manifest in the place of the bundle's."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps(manifest | fields))


def two_formats(bundle: Path) -> None:
    changed(bundle, provenance={"sources": [], "format": "another", "versions": {}})


@pytest.fixture
def shop(tiny_bundle, tmp_path) -> Path:
    """A folder with two good bundles and three bad ones."""
    tiny_bundle("models/good")
    shutil.copytree(tmp_path / "models/good", tmp_path / "models/numbered/3")
    shutil.copytree(tmp_path / "models/good", tmp_path / "models/corrupt")
    (tmp_path / "models/corrupt/graphs/denoise.fp32.onnx").write_bytes(b"nonsense")
    (tmp_path / "models/empty").mkdir()
    shutil.copytree(tmp_path / "models/good", tmp_path / "models/unproven")
    changed(tmp_path / "models/unproven", parity=[])
    return tmp_path / "models"


def test_what_is_bad_is_reported_and_the_others_are_served(house, shop):
    async def run() -> None:
        one = house(shop)
        assert not one.models.all_ready
        await one.models.start()
        assert one.states() == [
            ("corrupt", 0, "UNAVAILABLE"),
            ("empty", 0, "UNAVAILABLE"),
            ("good", 1, "READY"),
            ("numbered", 3, "READY"),
            ("unproven", 0, "UNAVAILABLE"),
        ]
        reasons = {entry.name: entry.reason for entry in one.models.index()}
        assert "graphs/denoise.fp32.onnx" in reasons["corrupt"]
        assert "manifest.json" in reasons["empty"]
        assert "no record" in reasons["unproven"]
        assert not any(str(shop) in reason for reason in reasons.values())
        assert one.models.all_ready
        assert one.models.ready("good")
        assert one.models.ready("numbered", 3)
        assert not one.models.ready("numbered", 2)
        assert not one.models.ready("corrupt")
        assert not one.models.ready("nobody")
        assert one.changes
        with pytest.raises(UnavailableError, match="denoise"), one.models.lease("corrupt"):
            pass

    asyncio.run(run())


def test_a_bundle_of_the_command_line_that_is_bad_ends_the_start(house, shop):
    async def run() -> None:
        one = house(None, f"fine={shop / 'good'}", f"bad={shop / 'corrupt'}", f"never={shop / 'good'}")
        with pytest.raises(BundleError, match="denoise"):
            await one.models.start()
        assert not one.models.all_ready
        assert [event for event, _ in one.lines] == ["model ready", "model failed"]

    asyncio.run(run())


def test_the_unproven_is_served_where_it_is_allowed(house, shop):
    async def run() -> None:
        one = house(shop, allow_unverified=True)
        await one.models.start()
        with one.models.lease("unproven") as served:
            assert not served.verified
            assert not one.clerk.open[served.key].check  # it carries nothing to check
        with one.models.lease("good") as served:
            assert served.verified

    asyncio.run(run())


def test_what_a_worker_is_told(house, tiny_bundle, tmp_path):
    async def run() -> None:
        one = house(None, f"faces={tiny_bundle()}", threads=3, cache=tmp_path / "cache")
        await one.models.start()
        with one.models.lease("") as served:  # the only one needs no name
            opening = one.clerk.open[served.key]
            assert (served.name, served.version, served.key.version) == ("faces", 1, "1.1")
            assert (opening.path, opening.sha256) == (str(tmp_path / "tiny"), served.sha256)
            assert (opening.threads, opening.cache, opening.check) == (3, str(tmp_path / "cache"), True)
            assert one.sizes(BatchKey(served.key, "denoise", 8, 8)) == (1, 2, 4)
            assert served.counters is one.metrics.model("faces", 1)
        assert [(entry.task, entry.scale) for entry in one.models.index()] == [("restoration", 1)]

    asyncio.run(run())


def test_a_reload_swaps_in_one_step_and_the_old_one_ends_its_requests(house, shop):
    async def run() -> None:
        one = house(shop)
        await one.models.start()
        with one.models.lease("good") as old:
            two_formats(shop / "good")
            await one.models.load("good")
            with one.models.lease("good") as new:
                assert (old.version, new.version) == (1, 2)
            assert ("good", 1, "UNLOADING") in one.states()
            with pytest.raises(UnavailableError, match="UNLOADING"), one.models.lease("good", 1):
                pass
            await one.settled()
            assert old.key in one.clerk.open
        await one.settled()
        assert old.key not in one.clerk.open
        assert new.key in one.clerk.open
        assert [state for state in one.states() if state[0] == "good"] == [("good", 2, "READY")]
        with pytest.raises(UnknownModelError, match="version 1"), one.models.lease("good", 1):
            pass

    asyncio.run(run())


def test_a_reload_of_the_same_keeps_its_version_and_is_another_load(house, shop):
    async def run() -> None:
        one = house(shop)
        await one.models.start()
        with one.models.lease("good") as first:
            pass
        counters = first.counters
        await one.models.load("good")
        await one.settled()
        with one.models.lease("good") as second:
            assert (second.version, second.key.version) == (1, "1.2")
        assert one.metrics.model("good", 1) is counters

    asyncio.run(run())


def test_a_reload_that_fails_keeps_the_old_one(house, shop):
    async def run() -> None:
        one = house(shop)
        await one.models.start()
        one.clerk.broken = True
        with pytest.raises(UnavailableError, match="no such device"):
            await one.models.load("good")
        entry = next(entry for entry in one.models.index() if entry.name == "good")
        assert (entry.state, entry.version) == ("READY", 1)
        assert "no such device" in entry.reason
        assert one.models.ready("good")
        one.clerk.broken = False
        await one.models.load("good")
        assert next(entry for entry in one.models.index() if entry.name == "good").reason == ""

    asyncio.run(run())


def test_a_newer_number_takes_over(house, shop):
    async def run() -> None:
        one = house(shop)
        await one.models.start()
        shutil.copytree(shop / "numbered/3", shop / "numbered/4")
        await one.models.load("numbered")
        assert one.models.ready("numbered", 4)

    asyncio.run(run())


def test_unload_refuses_new_ones_and_waits_for_the_others(house, shop):
    async def run() -> None:
        one = house(shop)
        await one.models.start()
        with one.models.lease("good") as served:
            await one.models.unload("good")
            assert ("good", 1, "UNLOADING") in one.states()
            assert served.key in one.clerk.open
        await one.settled()
        assert served.key not in one.clerk.open
        entry = next(entry for entry in one.models.index() if entry.name == "good")
        assert (entry.state, entry.version, entry.reason) == ("UNAVAILABLE", 1, "unloaded")
        await one.models.unload("good")  # twice is once
        await one.models.load("good")
        assert one.models.ready("good", 1)

    asyncio.run(run())


def test_a_caller_that_gives_up_does_not_stop_a_load(house, shop, clerk):
    async def run() -> None:
        one = house(shop, clerk=clerk)
        await one.models.start()
        clerk.slow = True
        two_formats(shop / "good")
        call = asyncio.create_task(one.models.load("good"))
        await one.settled()
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        assert [state for state in one.states() if state[0] == "good"] == [
            ("good", 2, "LOADING"),
            ("good", 1, "READY"),
        ]
        with pytest.raises(UnavailableError, match="LOADING"), one.models.lease("good", 2):
            pass
        clerk.release()
        await one.settled()
        assert one.models.ready("good", 2)

    asyncio.run(run())


def test_an_end_in_the_middle_of_a_load(house, shop, clerk):
    async def run() -> None:
        one = house(shop, clerk=clerk)
        clerk.slow = True
        start = asyncio.create_task(one.models.start())
        await one.settled()
        await one.models.close()
        await asyncio.gather(start, return_exceptions=True)
        assert not one.models.all_ready

    asyncio.run(run())


@pytest.mark.parametrize("name", ["nobody", "", "../good", "x" * 1000])
def test_names_that_are_not_there(house, shop, name):
    async def run() -> None:
        one = house(shop)
        await one.models.start()
        for call in (one.models.load, one.models.unload):
            with pytest.raises(UnknownModelError):
                await call(name)
        with pytest.raises(UnknownModelError), one.models.lease(name):
            pass
        assert len(one.models.index()) == 5  # asking for a name makes none

    asyncio.run(run())


def test_a_bundle_that_comes_later_can_be_loaded(house, shop):
    async def run() -> None:
        one = house(shop)
        await one.models.start()
        shutil.copytree(shop / "good", shop / "later")
        await one.models.load("later")
        assert one.models.ready("later")

    asyncio.run(run())


def test_a_name_twice_is_told_at_once(house):
    async def run() -> None:
        with pytest.raises(OptionError, match="twice"):
            house(None, "demo", "demo")

    asyncio.run(run())
