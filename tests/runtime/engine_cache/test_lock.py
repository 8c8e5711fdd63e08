"""One builder at a time over real processes: nobody builds twice, and a killed builder stops nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from lqhq.runtime.engine_cache.key import slot_of
from lqhq.runtime.engine_cache.lock import holder_of, slot_lock, try_lock
from lqhq.runtime.errors import CancelledError

# A builder that says when it begins, sleeps, and returns an engine of a megabyte.
CHILD = """
import sys, time
from pathlib import Path
from types import SimpleNamespace
import msgspec
from lqhq.runtime.engine_cache.key import EngineKey
from lqhq.runtime.engine_cache.store import obtain
from lqhq.runtime.precision import Plan

folder, seconds = Path(sys.argv[1]), float(sys.argv[2])
key = msgspec.json.decode(sys.argv[3], type=EngineKey)

def build():
    print("builds", flush=True)
    time.sleep(seconds)
    plan = Plan(weights={}, layers={})
    return SimpleNamespace(data=memoryview(bytes(1 << 20)), flavour=key.flavour, version=key.version, parsed=plan,
                           state="partly", notes=(), seconds=seconds)

engine = obtain(key, build, folder=folder, say=lambda line: print(line, flush=True), verified=None)
print("has", len(engine.read()), engine.fresh, flush=True)
"""


def start(folder: Path, key: object, seconds: float) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", CHILD, str(folder), str(seconds), msgspec.json.encode(key).decode()]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_many_processes_build_once(cache, key):
    children = [start(cache.folder, key, 0.4) for _ in range(3)]
    told = [child.communicate(timeout=30)[0] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0], told
    assert sorted(text.count("builds\n") for text in told) == [0, 0, 1]
    assert sorted("has 1048576 True" in text for text in told) == [False, False, True]
    assert all("has 1048576" in text for text in told)
    builder = next(child for child, text in zip(children, told, strict=True) if "has 1048576 True" in text)
    for text in told:
        if "waiting for" in text:
            assert f"waiting for process {builder.pid}, which builds this engine now" in text
            assert "ready, another process built it" in text
    assert {name.rsplit(".", 1)[1] for name in cache.names()} == {"json", "lock", "engine"}


def test_a_killed_builder_stops_nobody(cache, key):
    child = start(cache.folder, key, 60)
    for line in child.stdout:
        if line == "builds\n":
            break
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=30)
    assert child.returncode == -signal.SIGKILL
    assert cache.obtain(key).fresh
    assert not any("waiting" in line for line in cache.told)


def test_planted_fault_without_a_lock_two_build(cache, key, monkeypatch):
    """What the lock prevents: the same race with threads, and a lock that is always free."""
    monkeypatch.setattr("lqhq.runtime.engine_cache.lock.fcntl.flock", lambda *_: None)
    began = threading.Barrier(2, timeout=10)
    original = type(cache).obtain

    def obtain() -> None:
        mine = type(cache)(cache.folder)
        mine.data = b"x"
        monkeypatch.setattr(mine, "told", [])
        began.wait()
        original(mine, key)
        built.append(mine.builds)

    built: list[int] = []
    monkeypatch.setattr("lqhq.runtime.engine_cache.store._store", _slow(began))
    threads = [threading.Thread(target=obtain) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(built) == 2


def _slow(began):
    from lqhq.runtime.engine_cache import store

    real = store._store

    def store_together(*args):
        began.wait()  # both are here: both have built
        return real(*args)

    return store_together


def test_a_waiter_can_be_cancelled(tmp_path):
    path, told = tmp_path / "a.lock", []
    handle = try_lock(path)
    assert holder_of(path) == f"process {os.getpid()}"
    with (
        pytest.raises(CancelledError, match="while waiting"),
        slot_lock(path, say=told.append, cancel=lambda: len(told) > 0),
    ):
        pass
    os.close(handle)
    assert told == [f"waiting for process {os.getpid()}, which builds this engine now"]
    with slot_lock(path, say=told.append):
        assert try_lock(path) is None
    assert len(told) == 1


@pytest.mark.parametrize("text", ["", "no number", "12345678901234", "\x1b[2J"])
def test_a_holder_that_cannot_be_read_is_another_process(tmp_path, text):
    (tmp_path / "a.lock").write_text(text)
    assert holder_of(tmp_path / "a.lock") is None
    assert holder_of(tmp_path / "none") is None


def test_a_lock_file_removed_by_a_cleaner_is_made_anew(tmp_path, monkeypatch):
    """The cleaner removes the file between our opening and our locking it."""
    from lqhq.runtime.engine_cache import lock

    path, real, calls = tmp_path / "a.lock", lock.fcntl.flock, []

    def flock(handle: int, how: int) -> None:
        if not calls:
            path.unlink()
        calls.append(how)
        real(handle, how)

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    handle = try_lock(path)
    assert len(calls) == 2
    assert path.read_text() == f"{os.getpid()}\n"
    monkeypatch.undo()
    assert try_lock(path) is None
    os.close(handle)


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "a.lock").symlink_to(tmp_path / "precious")
    (tmp_path / "precious").write_text("precious")
    with pytest.raises(OSError, match=r"a\.lock"):
        try_lock(tmp_path / "a.lock")
    assert (tmp_path / "precious").read_text() == "precious"


def test_slots_do_not_wait_for_each_other(cache, key):
    handle = None
    cache.obtain(key)
    other = msgspec.structs.replace(key, precision="fp32")
    handle = try_lock(cache.folder / f"{slot_of(key)}.lock")
    before = time.monotonic()
    assert cache.obtain(other).fresh
    assert time.monotonic() - before < 1
    os.close(handle)
