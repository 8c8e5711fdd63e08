"""What has been hashed is not hashed again, and what changed is."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lqhq.runtime import verified as verified_module
from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.errors import BundleError
from lqhq.runtime.verified import Verified, sha256_file

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
TICK_S = 0.02  # file times move with the kernel's clock tick, up to 10 ms
Hashed = list[str]


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Hashed:
    """The names of the files hashed so far."""
    names: Hashed = []

    def counting(path: Path) -> str:
        names.append(path.name)
        return sha256_file(path)

    monkeypatch.setattr(verified_module, "sha256_file", counting)
    return names


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "a").write_bytes(b"abc")
    return tmp_path / "a"


def digest(cache: Path | None, file: Path) -> str:
    """Ask as a new process would: read the memory, ask, save."""
    memory = Verified(cache)
    found = memory.sha256(file)
    memory.save()
    return found


def test_the_digest_is_sha256(file: Path) -> None:
    assert sha256_file(file) == ABC


def test_an_unchanged_file_is_hashed_once(file: Path, tmp_path: Path, hashed: Hashed) -> None:
    cache = tmp_path / "deep/verified.json"
    assert [digest(cache, file) for _ in range(3)] == [ABC] * 3
    assert hashed == ["a"]
    assert [path.name for path in cache.parent.iterdir()] == ["verified.json"]


def test_without_a_memory_every_time(file: Path, hashed: Hashed) -> None:
    assert [digest(None, file) for _ in range(2)] == [ABC] * 2
    assert len(hashed) == 2


def later(file: Path) -> None:
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))


def rewritten(file: Path) -> None:
    file.write_bytes(b"abd")


def rewritten_with_old_time(file: Path) -> None:
    before = file.stat()
    file.write_bytes(b"abd")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def replaced(file: Path) -> None:
    other = file.with_name("b")
    other.write_bytes(b"abc")
    os.utime(other, ns=(0, file.stat().st_mtime_ns))
    os.replace(other, file)


@pytest.mark.parametrize("change", [later, rewritten, rewritten_with_old_time, replaced])
def test_a_touched_file_is_hashed_again(
    file: Path, tmp_path: Path, hashed: Hashed, change: Callable[[Path], None]
) -> None:
    cache = tmp_path / "verified.json"
    digest(cache, file)
    time.sleep(TICK_S)
    change(file)
    assert digest(cache, file) == sha256_file(file)
    assert len(hashed) == 2


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"\xff",
        b"[1]",
        b'{"a": 1}',
        b'{"a": [1, 2]}',
        b"[" * 9999,
        b" " * (verified_module.MAX_CACHE_BYTES + 1),
    ],
    ids=lambda value: repr(value[:8]),
)
def test_a_damaged_memory_is_rebuilt(file: Path, tmp_path: Path, hashed: Hashed, damage: bytes) -> None:
    cache = tmp_path / "verified.json"
    cache.write_bytes(damage)
    assert digest(cache, file) == digest(cache, file) == ABC
    assert hashed == ["a"]


def test_a_memory_that_cannot_be_written_is_ignored(file: Path, tmp_path: Path, hashed: Hashed) -> None:
    (tmp_path / "verified.json").mkdir()
    for cache in (tmp_path / "verified.json", file / "verified.json"):
        assert digest(cache, file) == ABC
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "verified.json"]


def test_an_account_without_a_home_still_works(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", homeless)
    assert digest(verified_module.CACHE_FILE, file) == ABC


def test_only_the_newest_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hashed: Hashed) -> None:
    monkeypatch.setattr(verified_module, "MAX_ENTRIES", 2)
    cache = tmp_path / "verified.json"
    for name in "abcbc":
        if not (tmp_path / name).exists():
            (tmp_path / name).write_bytes(b"abc")
        digest(cache, tmp_path / name)
    assert hashed == ["a", "b", "c"]
    digest(cache, tmp_path / "a")
    assert hashed == ["a", "b", "c", "a"]


def test_opening_a_bundle_twice_hashes_it_once(
    tiny_bundle: Callable[..., Path], tmp_path: Path, hashed: Hashed
) -> None:
    folder, cache = tiny_bundle(external=True), tmp_path / "verified.json"
    open_bundle(folder, verified=cache)
    assert len(hashed) == 2
    open_bundle(folder, verified=cache)
    assert len(hashed) == 2
    graph = folder / "graphs/denoise.fp32.onnx"
    data = bytearray(graph.read_bytes())
    data[-1] ^= 1
    time.sleep(TICK_S)
    graph.write_bytes(data)
    with pytest.raises(BundleError, match="the content changed"):
        open_bundle(folder, verified=cache)


def test_planted_fault_a_memory_blind_to_time_is_noticed(
    file: Path, tmp_path: Path, hashed: Hashed, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = verified_module.Entry(3, 0, 0, 0, "")
    monkeypatch.setattr(verified_module, "_seen", lambda *_: blind)
    with pytest.raises(AssertionError):
        test_a_touched_file_is_hashed_again(file, tmp_path, hashed, rewritten)
