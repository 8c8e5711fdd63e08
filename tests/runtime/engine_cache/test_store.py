"""The cache as a caller sees it: one build, then ready; whatever is wrong is named and mended."""

from __future__ import annotations

import errno
import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from lqhq.runtime.engine_cache import store
from lqhq.runtime.engine_cache.key import slot_of
from lqhq.runtime.engine_cache.lock import try_lock
from lqhq.runtime.engine_cache.store import confirm, obtain, reject
from lqhq.runtime.engine_spec import Profile, Range
from lqhq.runtime.errors import EngineError

replace = msgspec.structs.replace


def test_built_once_then_ready(cache, key):
    first = cache.obtain(key)
    assert first.fresh
    assert cache.told == ["demo denoise fp16 for tensorrt-rtx: not built yet; building"]
    again = cache.obtain(key)
    assert (again.fresh, again.record, cache.told, cache.builds) == (False, first.record, [], 1)
    assert bytes(again.read()) == cache.data == again.path.read_bytes()
    slot = slot_of(key)
    assert slot.startswith("demo.denoise.fp16.tensorrt-rtx.")
    assert cache.names() == {f"{slot}.json", f"{slot}.lock", again.record.file}


def test_the_record_says_what_was_learnt(cache, key):
    told = json.loads((cache.folder / f"{slot_of(cache.obtain(key).record.key)}.json").read_text())
    assert told["schema"] == 1
    assert (told["state"], told["notes"], told["seconds"]) == ("partly", ["a note"], 0.5)
    assert told["parsed"]["layers"] == {"convolution": {"float32": 2}}
    assert told["bytes"] == len(cache.data)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"version": "1.6.0"}, "built by tensorrt-rtx 1.6.0, this is 1.7.1.116"),
        ({"builder": 7}, "built with settings 7, this has 1"),
        ({"platform": "linux-aarch64"}, "for linux-aarch64, this is linux-x86_64"),
    ],
)
def test_a_stale_engine_is_explained_and_rebuilt(cache, key, change, why):
    cache.obtain(replace(key, **change))
    cache.data = b"a newer one"
    new = cache.obtain(key)
    assert new.fresh
    assert cache.told == [f"demo denoise fp16 for tensorrt-rtx: {why}; building"]
    assert not cache.obtain(key).fresh


def test_another_driver_matters_to_full_tensorrt(cache, full):
    cache.obtain(full(driver="560"))
    assert cache.obtain(full()).fresh
    assert "for driver 560, this is 570" in cache.told[0]


def test_another_request_is_another_slot(cache, key, full):
    other = (Profile(batch=Range(1, 1, 1), height=Range(32, 64, 64), width=Range(64, 64, 64)),)
    for each in (
        key,
        replace(key, profiles=other),
        replace(key, targets=("sm120",)),
        full(),
        replace(key, role="decode"),
    ):
        assert cache.obtain(each).fresh
    assert not cache.obtain(key).fresh
    assert cache.builds == 5


def test_more_targets_than_asked_for_will_do(cache, key):
    made = cache.obtain(key)
    found = cache.obtain(replace(key, targets=("sm89",)))
    assert (found.fresh, found.path) == (False, made.path)
    assert cache.told == ["demo denoise fp16 for tensorrt-rtx: not built yet; the one for sm86, sm89 will do"]
    assert cache.obtain(replace(key, targets=("sm89", "sm120"))).fresh
    # Stale, it covers nothing.
    assert cache.obtain(replace(key, targets=("sm86",), version="1.8.0")).fresh


def corrupt_record(cache):
    cache.path(".json").write_text("{")
    return "its record is not JSON: damaged"


def foreign_schema(cache):
    path = cache.path(".json")
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 2'))
    return "its record has schema 2, this reads 1"


def unknown_field(cache):
    path = cache.path(".json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "\x1b[2J": 1}))
    return "its record is not one of ours: Object contains unknown field"


def huge_record(cache):
    cache.path(".json").write_text(" " * (1 << 20) + "{}")
    return "it has 1048578 bytes, at most 1048576 are read"


def deep_record(cache):
    cache.path(".json").write_text("[" * 100_000)
    return "its record is not JSON: damaged"


def record_of_another_request(cache):
    path = cache.path(".json")
    path.write_text(path.read_text().replace('"fp16"', '"fp32"'))
    return "in fp32, asked for fp16"


def planted_profile(cache):
    path = cache.path(".json")
    told = json.loads(path.read_text())
    told["key"]["profiles"][0]["batch"] = [1, 1, 8]
    path.write_text(json.dumps(told))
    return "for profiles 64x64@1-8, asked for 64x64@1-4"


def no_record(cache):
    cache.path(".json").unlink()
    return f"no record beside {cache.path('.engine').name}: foreign"


def no_engine(cache):
    path = cache.path(".engine")
    path.unlink()
    return f"engine file {path.name} is missing"


def truncated(cache):
    cache.path(".engine").write_bytes(cache.data[:12])
    return "engine file has 12 bytes, its record says 24: truncated"


def changed_byte(cache):
    time.sleep(0.02)  # past the file system's clock: the memory of digests sees the time
    data = bytearray(cache.data)
    data[3] ^= 1
    cache.path(".engine").write_bytes(data)
    return "its record says"


def planted_engine_of_same_size(cache):
    """As if the engine of another precision were put in its place: the size alone would not tell."""
    other = cache.path(".engine").with_name("other")
    other.write_bytes(b"E" * len(cache.data))
    os.replace(other, cache.path(".engine"))
    return ": changed"


def linked(cache):
    path = cache.path(".engine")
    path.rename(cache.folder.parent / "elsewhere")
    path.symlink_to(cache.folder.parent / "elsewhere")
    return "its engine file is a link or no file at all"


def record_names_another_file(cache):
    path = cache.path(".json")
    told = json.loads(path.read_text())
    told["file"] = "x." + "0" * 16 + ".engine"
    path.write_text(json.dumps(told))
    return "the file of another request"


def record_is_a_pipe(cache):
    path = cache.path(".json")
    path.unlink()
    os.mkfifo(path)
    return "it is not a regular file"


DAMAGES = (
    *(corrupt_record, foreign_schema, unknown_field, huge_record, deep_record, record_of_another_request),
    *(planted_profile, no_record, no_engine, truncated, changed_byte, planted_engine_of_same_size, linked),
    *(record_names_another_file, record_is_a_pipe),
)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_explained_and_rebuilt(cache, key, damage):
    cache.obtain(key)
    cache.obtain(key)
    why = damage(cache)
    made = cache.obtain(key)
    assert made.fresh
    assert len(cache.told) == 1
    assert why in cache.told[0]
    assert cache.told[0].isprintable()
    assert bytes(made.read()) == cache.data
    assert not cache.obtain(key).fresh
    assert cache.builds == 2


def test_planted_fault_a_lookup_that_sees_nothing_is_noticed(cache, key, monkeypatch):
    """Each damage test must be able to fail: without the check of files most of them would."""
    monkeypatch.setattr("lqhq.runtime.engine_cache.lookup._file_fault", lambda *_: None)
    for damage in (truncated, changed_byte, planted_engine_of_same_size, linked):
        with pytest.raises(AssertionError):
            test_damage_is_explained_and_rebuilt(cache, key, damage)
        for path in cache.folder.iterdir():
            path.unlink()


def test_the_older_engine_stays_until_the_new_one_loads(cache, key):
    old = cache.obtain(replace(key, version="1.6.0"))
    cache.data = b"a newer one"
    new = cache.obtain(key)
    assert old.path.exists()
    confirm(new)
    slot = slot_of(key)
    assert cache.names() == {f"{slot}.json", f"{slot}.lock", new.record.file}
    assert not cache.obtain(key).fresh


def test_an_engine_that_does_not_load_goes_and_the_older_one_is_back(cache, key):
    old = cache.obtain(replace(key, version="1.6.0"))
    cache.data = b"a newer one"
    reject(cache.obtain(key))
    again = cache.obtain(replace(key, version="1.6.0"))
    assert (again.fresh, again.record) == (False, old.record)
    reject(again)
    assert cache.names() == {f"{slot_of(key)}.lock"}


def test_nothing_is_removed_for_an_engine_that_is_no_longer_the_slots(cache, key):
    old = cache.obtain(replace(key, version="1.6.0"))
    cache.data = b"a newer one"
    new = cache.obtain(key)
    confirm(old)
    reject(old)
    assert new.path.exists()
    assert old.path.exists()
    handle = try_lock(cache.folder / f"{slot_of(key)}.lock")
    reject(new)  # another one holds the slot
    os.close(handle)
    assert new.path.exists()


def test_an_engine_removed_under_our_hands_says_so(cache, key):
    engine = cache.obtain(key)
    mapped = engine.read()
    engine.path.unlink()
    assert bytes(mapped) == cache.data
    with pytest.raises(EngineError, match="start again"):
        engine.read()


def folder_is_a_file(folder, _):
    folder.write_text("")
    return "exists"


def parent_is_a_file(folder, _):
    folder.parent.mkdir(exist_ok=True)
    (folder.parent / "f").write_text("")
    return "Not a directory"


def disk_is_full(_, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store, "write_whole", full)
    return "No space left on device"


def no_locks(_, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("lqhq.runtime.engine_cache.lock.fcntl.flock", refuse)
    return "No locks available"


def no_home(_, monkeypatch):
    def homeless(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    return "there is no home folder"


@pytest.mark.parametrize("plant", [folder_is_a_file, parent_is_a_file, disk_is_full, no_locks, no_home])
def test_a_cache_that_cannot_be_written_is_said_and_the_engine_is_used(cache, key, monkeypatch, plant):
    cache.memory = None
    why = plant(cache.folder, monkeypatch)
    if plant is parent_is_a_file:
        cache.folder = cache.folder.parent / "f" / "engines"
    engine = cache.obtain(key)
    assert (engine.path, engine.fresh, bytes(engine.read())) == (None, True, cache.data)
    assert any(why in line and "not" in line for line in cache.told), cache.told
    confirm(engine)
    reject(engine)
    assert cache.builds == 1


def test_a_read_only_cache_still_serves(cache, key, monkeypatch):
    cache.obtain(key)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(store, "slot_lock", refuse)
    assert not cache.obtain(key).fresh
    assert cache.obtain(replace(key, version="1.8")).path is None
    assert "Permission denied" in cache.told[1]


@pytest.mark.parametrize("error", [KeyboardInterrupt, EngineError("x", found="y", expected="z", mend="w")])
def test_a_failed_build_leaves_nothing(cache, key, error):
    def build():
        raise error

    with pytest.raises(error if isinstance(error, type) else EngineError):
        obtain(key, build, folder=cache.folder, say=cache.told.append, verified=None)
    assert cache.names() == {f"{slot_of(key)}.lock"}
    assert cache.obtain(key).fresh


@pytest.mark.parametrize(
    ("made", "found"),
    [
        (
            SimpleNamespace(data=memoryview(b"x"), flavour="tensorrt-rtx", version="1.6.0"),
            "1 bytes by tensorrt-rtx 1.6.0",
        ),
        (SimpleNamespace(data=memoryview(b"x"), flavour="tensorrt", version="1.7.1.116"), "1 bytes by tensorrt 1.7"),
        (SimpleNamespace(data=memoryview(b""), flavour="tensorrt-rtx", version="1.7.1.116"), "0 bytes by"),
    ],
)
def test_what_was_not_asked_for_is_not_kept(cache, key, made, found):
    with pytest.raises(EngineError, match=found):
        obtain(key, lambda: made, folder=cache.folder, say=cache.told.append, verified=None)
    assert cache.names() == {f"{slot_of(key)}.lock"}


def test_a_talkative_builder_still_has_a_readable_record(cache, key):
    notes = ("\x00" * 5000,) * 500
    made = SimpleNamespace(
        data=memoryview(b"x"),
        flavour=key.flavour,
        version=key.version,
        parsed=cache.obtain(replace(key, role="decode")).record.parsed,
        state="partly",
        notes=notes,
        seconds=float("nan"),
    )
    obtain(key, lambda: made, folder=cache.folder, say=cache.told.append, verified=None)
    assert not cache.obtain(key).fresh


def test_gigabytes_are_hashed_once(cache, key, monkeypatch):
    """The digest is remembered from the build on; a start afterwards reads no engine."""
    cache.obtain(key)

    def never(_: Path) -> str:
        raise AssertionError("hashed again")

    monkeypatch.setattr("lqhq.runtime.verified.sha256_file", never)
    assert not cache.obtain(key).fresh
