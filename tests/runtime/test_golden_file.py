"""Reference arrays from nobody knows whom: each fault ends in the one error, and takes no memory first."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from lqhq.runtime import golden_file
from lqhq.runtime.errors import BundleError
from lqhq.runtime.golden_file import read_golden

ARRAYS = {
    "a.state": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "name": np.array("fast"),
    "share": np.array(0.25),
}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    np.savez_compressed(tmp_path / "good.npz", **ARRAYS)  # type: ignore[arg-type]
    return tmp_path / "good.npz"


def npy(shape: str, descr: str = "<f4", *, data: bytes = b"", version: int = 1, extra: str = "") -> bytes:
    """An array file whose header says what we like."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, {extra}}}".encode()
    size = struct.pack("<H" if version == 1 else "<I", len(header))
    return b"\x93NUMPY" + bytes([version, 0]) + size + header + data


def packed(folder: Path, entries: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(folder / "x.npz", "w", method) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return folder / "x.npz"


def test_it_reads_what_numpy_writes(good: Path) -> None:
    found = read_golden(good, "goldens/x.npz")
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (npy("(1 << 62, 1 << 62)".replace("1 << 62", str(1 << 62))), "shape .* in .* bytes"),
        (npy(f"({10**400},)"), "shape"),
        (npy("(100000, 100000)"), "shape"),  # 40 GB that are not there
        (npy("(-1,)"), "shape"),
        (npy("(-2, -2)", data=bytes(16)), "shape"),
        (npy("(2,)", "|O", data=bytes(16)), "shape"),
        (npy("(9,)", "|V0"), "shape"),
        (npy("(2,)", ">f4", data=bytes(8)), "shape .* of >f4"),
        (npy("(2,)", version=3, data=bytes(8)), "version"),
        (npy("'abc'"), "cannot be read"),
        (npy("(" * 5000), "cannot be read"),
        (npy("(2,)", "no such type"), "cannot be read"),
        (npy("(2,)", extra="1: 2"), "cannot be read"),
        (npy("(2,)", extra="'''"), "cannot be read"),
        (b"no array", "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_headers_that_lie(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(BundleError, match=words) as caught:
        read_golden(packed(tmp_path, {"a.npy": data}), "goldens/x.npz")
    assert caught.value.where.startswith("goldens/x.npz")


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_foreign_compression(tmp_path: Path, method: int) -> None:
    with pytest.raises(BundleError, match="foreign compression"):
        read_golden(packed(tmp_path, {"a.npy": npy("()", data=bytes(4))}, method), "x")


def test_encrypted_entries(good: Path) -> None:
    """The flag of encryption, set in every entry of the directory."""
    data = bytearray(good.read_bytes())
    at = data.find(b"PK\x01\x02")
    while at >= 0:
        data[at + 8] |= 1
        at = data.find(b"PK\x01\x02", at + 1)
    good.write_bytes(data)
    with pytest.raises(BundleError, match="encrypted"):
        read_golden(good, "x")


def test_limits_hold_before_anything_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = packed(tmp_path, {"a.npy": npy("(1048576,)", "|u1", data=bytes(1 << 20))})
    assert bomb.stat().st_size < 1 << 14
    monkeypatch.setattr(golden_file, "MAX_BYTES", 1 << 19)
    with pytest.raises(BundleError, match="1 arrays of 10486"):
        read_golden(bomb, "x")
    many = packed(tmp_path, {f"{index}.npy": b"" for index in range(257)})
    with pytest.raises(BundleError, match="257 arrays"):
        read_golden(many, "x")


def test_flipped_and_cut_files_never_escape_as_another_error(good: Path) -> None:
    """Seed 4; a flip in a name or in the stored time still reads, most are refused."""
    data, draw = good.read_bytes(), np.random.default_rng(4)
    refused = 0
    for _ in range(400):
        bad = bytearray(data)
        bad[int(draw.integers(len(bad)))] ^= 1 << int(draw.integers(8))
        good.write_bytes(bad if draw.random() < 0.8 else bad[: int(draw.integers(len(bad)))])
        try:
            read_golden(good, "x")
        except BundleError:
            refused += 1
    assert refused > 200


def test_a_damaged_stream(tmp_path: Path) -> None:
    """zlib's own error, not only a wrong check sum."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", npy("(64,)", data=np.random.default_rng(1).bytes(256)))
    data = bytearray(stream.getvalue())
    data[35] = 0xFF  # the first byte after the header and the name: a block of a kind that does not exist
    (tmp_path / "x.npz").write_bytes(data)
    with pytest.raises(BundleError, match="cannot be read"):
        read_golden(tmp_path / "x.npz", "x")
