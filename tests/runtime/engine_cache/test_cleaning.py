"""Cleaning removes what is of no use, says it, and touches nothing else."""

from __future__ import annotations

import os
from dataclasses import replace as changed

import msgspec
import pytest

from lqhq.runtime.engine_cache import cleaning
from lqhq.runtime.engine_cache.cleaning import clean_engines
from lqhq.runtime.engine_cache.key import Gpu, Here, slot_of
from lqhq.runtime.engine_cache.lock import try_lock
from lqhq.runtime.engine_cache.side import kernels_name, write_side
from lqhq.runtime.errors import EngineError

replace = msgspec.structs.replace
L4 = Gpu(name="NVIDIA L4", sm="sm89")
HERE = Here(versions={"tensorrt-rtx": "1.7.1.116", "tensorrt": "11.4.0.106"}, platform="linux-x86_64")


def why(cleaned):
    return {one.why for one in cleaned.removed}


def run(cache, here=HERE, **options):
    return clean_engines(cache.folder, here, verified=cache.memory, **options)


def test_what_can_be_used_stays(cache, key, full):
    for each in (key, full(), replace(key, targets=("sm120",)), replace(key, bundle="other")):
        cache.obtain(each)
    names = cache.names()
    assert run(cache).removed == ()
    assert cache.names() == names
    # Another GPU may be put back, a flavour installed again; a driver that nobody can ask is no reason either.
    run(cache, replace_here(gpu=Gpu(name="NVIDIA H100", sm="sm90"), driver="570.1"))
    run(cache, replace_here(versions={}))
    assert cache.names() == names


def replace_here(**fields):
    return changed(HERE, **fields)


@pytest.mark.parametrize(
    ("here", "told"),
    [
        ({"versions": {"tensorrt": "11.5"}}, "built by tensorrt 11.4.0.106, this is 11.5"),
        ({"driver": "580.1"}, "for driver 570, this is 580"),
        ({"builder": 2}, "built with settings 1, this has 2"),
        ({"platform": "linux-aarch64"}, "for linux-x86_64, this is linux-aarch64"),
    ],
)
def test_outdated_engines_go(cache, full, here, told):
    cache.obtain(full())
    cleaned = run(cache, replace_here(**here))
    assert why(cleaned) == {told}
    assert sum(one.bytes for one in cleaned.removed) > len(cache.data)
    assert cache.names() == set()
    assert run(cache).removed == ()


def cut(cache):
    cache.path(".engine").write_bytes(b"x")


def broken(cache):
    cache.path(".json").write_text("{")


def orphan(cache):
    cache.path(".json").unlink()


def lost(cache):
    cache.path(".engine").unlink()


@pytest.mark.parametrize(
    ("damage", "told"),
    [(cut, "truncated"), (broken, "damaged"), (orphan, "foreign"), (lost, "missing")],
)
def test_broken_engines_go(cache, key, damage, told):
    cache.obtain(key)
    damage(cache)
    (reason,) = why(run(cache))
    assert told in reason
    assert cache.names() == set()


def test_older_engines_and_left_overs_go(cache, key):
    cache.obtain(replace(key, version="1.6.0"))
    cache.data = b"newer"
    new = cache.obtain(key)
    (cache.folder / f"{slot_of(key)}.0123abcd.part").write_bytes(b"123")
    cleaned = run(cache)
    assert {(one.name.rsplit(".", 1)[1], one.why) for one in cleaned.removed} == {
        ("json", "older than the engine in use"),
        ("engine", "older than the engine in use"),
        ("part", "left by a build that did not end"),
    }
    assert cache.names() == {f"{slot_of(key)}.json", f"{slot_of(key)}.lock", new.record.file}
    assert not cache.obtain(key).fresh


def test_all_or_one_bundle(cache, key):
    other = replace(key, bundle="other")
    cache.obtain(key)
    cache.obtain(other)
    write_side(cache.folder, kernels_name(cache.obtain(key).record, L4, "570"), b"k", say=print)
    assert run(cache, bundle="demo").removed == ()
    assert len(run(cache, bundle="demo", everything=True).removed) == 2
    assert not cache.obtain(other).fresh
    assert len(run(cache, everything=True).removed) == 3
    assert cache.names() == set()


def test_a_slot_that_is_being_built_is_left_alone(cache, key):
    cache.obtain(key)
    handle = try_lock(cache.folder / f"{slot_of(key)}.lock")
    cleaned = run(cache, everything=True)
    os.close(handle)
    assert cleaned.removed == ()
    assert cleaned.busy == (f"{slot_of(key)}: held by process {os.getpid()}",)
    assert not cache.obtain(key).fresh


def test_nothing_else_is_touched(cache, key, tmp_path):
    """Other names, links under our names and what they point to, folders, and files beside the folder."""
    cache.obtain(key)
    slot = slot_of(key)
    precious = tmp_path / "precious.engine"
    precious.write_text("precious")
    (cache.folder / "my.engine").write_text("mine")
    (cache.folder / f"{slot}.{'0' * 16}.engine").symlink_to(precious)
    (cache.folder / f"{slot}.{'1' * 16}.engine").mkdir()
    (cache.folder / f"{slot}.{'1' * 16}.engine" / f"{slot}.json").write_text("{")
    linked = slot.replace("demo", "linked")
    (cache.folder / f"{linked}.json").symlink_to(precious)
    run(cache, everything=True)
    left = {"my.engine", f"{slot}.{'0' * 16}.engine", f"{slot}.{'1' * 16}.engine", f"{linked}.json"}
    assert cache.names() == left
    assert precious.read_text() == "precious"
    assert (cache.folder / f"{slot}.{'1' * 16}.engine" / f"{slot}.json").exists()


def test_planted_fault_a_careless_cleaner_is_noticed(cache, key, tmp_path, monkeypatch):
    def careless(folder):
        found = real(folder)
        for slot in found.slots.values():
            slot.engines["my.engine"] = 4
        return found

    real = cleaning.read_folder
    monkeypatch.setattr(cleaning, "read_folder", careless)
    with pytest.raises(AssertionError):
        test_nothing_else_is_touched(cache, key, tmp_path)


def test_side_files(cache, key):
    record = cache.obtain(key).record
    good, stale, bad = (
        kernels_name(replace(record, key=replace(key, version=version)), L4, driver)
        for version, driver in (("1.7.1.116", "1"), ("1.6.0", "1"), ("1.7.1.116", "2"))
    )
    for name in (good, stale, bad):
        write_side(cache.folder, name, b"kernels", say=print)
    (cache.folder / bad).write_bytes(b"x")
    for name, age in (("0123abcd", 0), ("0123abce", 7200)):
        part = cache.folder / f"{good}.{name}.part"
        part.touch()
        os.utime(part, (part.stat().st_mtime - age,) * 2)
    told = {one.name: one.why for one in run(cache).removed}
    assert told == {
        stale: "of tensorrt-rtx 1.6.0, this is 1.7.1.116",
        bad: "damaged",
        f"{good}.0123abce.part": "left by a process that did not end",
    }


def test_a_folder_that_cannot_be_written_is_told(cache, key, monkeypatch):
    cache.obtain(key)

    def refuse(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(cleaning, "try_lock", refuse)
    with pytest.raises(EngineError, match="Permission denied"):
        run(cache)


def test_no_folder_is_nothing_to_clean(cache):
    assert run(cache).removed == ()
    assert not cache.folder.exists()
