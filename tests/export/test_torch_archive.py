"""torch's zip files read without torch's loader: the same tensors, and nothing that the file does not hold."""

from __future__ import annotations

import copy
import io
import pickle
import struct
import zipfile
from pathlib import Path

import pytest
import torch

from lqhq.export.placeholder import StoredTensor
from lqhq.export.torch_archive import is_torchscript, read_archive


def saved(data: object, **told) -> bytes:
    stream = io.BytesIO()
    torch.save(data, stream, **told)
    return stream.getvalue()


def edited(
    data: bytes, change=None, *, drop: str = "", add: dict[str, bytes] | None = None, compress: int = 0
) -> bytes:
    """The archive again, with `change` applied to its pickle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w", compress) as new:
        for info in old.infolist():
            if not drop or not info.filename.endswith(drop):
                content = old.read(info)
                new.writestr(
                    info.filename, change(content) if change and info.filename.endswith("data.pkl") else content
                )
        for name, content in (add or {}).items():
            new.writestr(name, content)
    return stream.getvalue()


@pytest.fixture
def read(tmp_path: Path):
    def reader(data: bytes):
        (tmp_path / "w.ckpt").write_bytes(data)
        return read_archive(tmp_path / "w.ckpt")

    return reader


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.bool),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8),
    ],
)
def test_tensors_of_every_kind_are_as_torch_reads_them(read, dtype, protocol):
    whole = torch.arange(24).reshape(2, 3, 4).to(dtype)
    tensors = {
        "whole": whole,
        "turned": whole.permute(2, 0, 1),
        "part": whole[1, :, 1:3],
        "scalar": whole[0, 0, 1],
        "none": torch.zeros(0, 3, dtype=dtype),
        "parameter": torch.nn.Parameter(whole.clone(), requires_grad=False),
    }
    found = read(saved(tensors, pickle_protocol=protocol)).tree
    for name, tensor in tensors.items():
        assert found[name].dtype == dtype
        assert torch.equal(found[name], tensor)
        assert found[name].stride() == tensor.stride()
    assert found["whole"].untyped_storage().data_ptr() == found["part"].untyped_storage().data_ptr()


def test_only_what_can_be_a_state_dict_is_read(read):
    """Three levels down lies what optimisers keep; it is not read at all."""
    weights = torch.ones(3)
    data = saved({"top": weights, "state_dict": {"a": weights}, "x": {"y": {"z": weights}}, "list": [weights]})
    found = read(data).tree
    assert torch.equal(found["top"], weights)
    assert torch.equal(found["state_dict"]["a"], weights)
    assert isinstance(found["x"]["y"]["z"], StoredTensor)
    assert isinstance(found["list"][0], StoredTensor)


def test_a_dict_under_many_names_is_read_once(read):
    inner = {f"t{k}": torch.zeros(1) for k in range(20)}
    found = read(saved({f"n{k}": inner for k in range(1000)})).tree
    assert len({id(value) for value in found.values()}) == 1


def _claim(count: int):
    """Eight floats, said to be `count`, in the storage and in the tensor."""
    number = b"J" + struct.pack("<i", count)
    return lambda data: data.replace(b"K\x08tq", number + b"tq", 1).replace(b"K\x08\x85", number + b"\x85", 1)


FAULTS = {
    "a storage that claims more": ({"change": _claim(1 << 20)}, ValueError, "said to hold 1048576"),
    "a storage that claims less": ({"change": _claim(4)}, ValueError, "has 32 bytes, said to hold 4"),
    "a negative count": ({"change": _claim(-8)}, ValueError, "said to hold -8"),
    "a tensor past its storage": (
        {"change": lambda data: data.replace(b"K\x08\x85", b"K\x09\x85", 1)}, RuntimeError, "out of bounds",
    ),
    "a negative size": (
        {"change": lambda data: data.replace(b"K\x08\x85", b"J\xff\xff\xff\xff\x85", 1)}, RuntimeError, "overflowed",
    ),
    "an offset past the end": (
        {"change": lambda data: data.replace(b"QK\x00", b"QK\x05", 1)}, RuntimeError, "out of bounds",
    ),
    "no storage": ({"drop": "data/0"}, KeyError, "data/0"),
    "no pickle": ({"drop": "data.pkl"}, pickle.UnpicklingError, "0 entries data.pkl"),
    "two pickles": ({"add": {"b/data.pkl": b"N."}}, pickle.UnpicklingError, "2 entries data.pkl"),
    "big-endian": ({"drop": "byteorder", "add": {"archive/byteorder": b"big"}}, ValueError, "big-endian"),
    "compressed": ({"compress": zipfile.ZIP_DEFLATED}, ValueError, "compressed"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_what_the_file_does_not_hold_is_refused(read, fault):
    told, error, words = FAULTS[fault]
    good = saved({"a": torch.arange(8.0)})
    assert torch.equal(read(edited(good)).tree["a"], torch.arange(8.0))
    with pytest.raises(error, match=words):
        read(edited(good, **told))


def test_entries_that_overlap_cannot_multiply(tmp_path):
    """A directory with a second name for the same bytes: they add up to more than the file has."""
    data = saved({"a": torch.zeros(1000), "b": torch.zeros(1000)})
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(tmp_path / "w.ckpt", "w") as new:
        for info in old.infolist():
            if info.filename != "archive/data/1":
                new.writestr(info.filename, old.read(info))
        twin = copy.copy(new.getinfo("archive/data/0"))
        twin.filename = "archive/data/1"
        new.filelist.append(twin)
    with pytest.raises(ValueError, match="entries overlap"):
        read_archive(tmp_path / "w.ckpt")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_told_apart(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), tmp_path / "script.pt")
    (tmp_path / "plain.pt").write_bytes(saved({"a": torch.zeros(1)}))
    (tmp_path / "text.pt").write_bytes(b"text")
    assert [is_torchscript(tmp_path / f"{name}.pt") for name in ("script", "plain", "text")] == [True, False, False]
