"""The zip archive that `torch.save` writes, read without torch's loader: one pickle, and one entry per storage.

For files that `torch.load(weights_only=True)` refuses. Only tensors where a state dict can be are read: at the top
and one level below. What optimisers keep, deeper down, stays in the file.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from lqhq.export.placeholder import Storage, StoredTensor
from lqhq.export.placeholder_unpickler import Unpickled, unpickle

__all__ = ["is_torchscript", "read_archive"]

DTYPES: Mapping[str, torch.dtype] = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def is_torchscript(file: Path) -> bool:
    """Whether `file` is a TorchScript archive, which holds a program beside its weights."""
    try:
        with zipfile.ZipFile(file) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def read_archive(file: Path) -> Unpickled:
    """The content of `file` with tensors (sharing storages as stored) and placeholders in it; no code runs.

    Raises `UnpicklingError` for a damaged pickle, `ValueError`, `RuntimeError` and `zipfile.BadZipFile` for entries
    that are damaged or hold less than they are said to.
    """
    with zipfile.ZipFile(file) as archive:
        pickles = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise UnpicklingError(f"{len(pickles)} entries data.pkl")
        storages = _Storages(archive, pickles[0].removesuffix("data.pkl"), file.stat().st_size)
        if storages.entry("byteorder", b"little") != b"little":
            raise ValueError("numbers stored in big-endian order")
        content = unpickle(storages.entry("data.pkl"))
        return Unpickled(storages.filled(content.tree, depth=2), content.foreign)


class _Storages:
    """The entries of an archive; each storage is read once, and in all not more bytes than the file has."""

    def __init__(self, archive: zipfile.ZipFile, root: str, file_bytes: int) -> None:
        self.archive, self.root, self.left = archive, root, file_bytes
        self.done: dict[Storage, Tensor] = {}
        self.dicts: dict[tuple[int, int], dict[Any, Any]] = {}

    def entry(self, name: str, absent: bytes | None = None) -> bytes:
        """The bytes of an entry. torch stores entries as they are; a compressed one could grow without bound."""
        try:
            info = self.archive.getinfo(self.root + name)
        except KeyError:
            if absent is None:
                raise
            return absent
        self.left -= info.file_size
        if info.compress_type != zipfile.ZIP_STORED or self.left < 0:
            raise ValueError(f"entry {name} is compressed, or entries overlap")
        try:
            return self.archive.read(info)
        except (zlib.error, EOFError) as error:
            raise ValueError(f"entry {name} is damaged") from error

    def filled(self, tree: Any, depth: int) -> Any:
        """`tree` with tensors for the records in its dicts, `depth` levels down."""
        if isinstance(tree, StoredTensor):
            return self.tensor(tree)
        if not isinstance(tree, dict) or not depth:
            return tree
        if (id(tree), depth) not in self.dicts:  # one dict may hang under a million names
            self.dicts[id(tree), depth] = {key: self.filled(value, depth - 1) for key, value in tree.items()}
        return self.dicts[id(tree), depth]

    def tensor(self, record: StoredTensor) -> Tensor:
        """A view of the storage; torch refuses one that reaches past its end."""
        if (flat := self.done.get(record.storage)) is None:
            flat = self.done[record.storage] = self.flat(record.storage)
        return torch.as_strided(flat, record.size, record.stride, record.offset)

    def flat(self, storage: Storage) -> Tensor:
        dtype, data = DTYPES[storage.kind], self.entry(f"data/{storage.key}")
        if len(data) != storage.count * dtype.itemsize:
            raise ValueError(f"storage {storage.key} has {len(data)} bytes, said to hold {storage.count} {dtype}")
        return torch.frombuffer(bytearray(data), dtype=dtype) if data else torch.empty(0, dtype=dtype)
