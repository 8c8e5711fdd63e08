"""Arrays in memory that two processes share, without a name that anybody would have to remove.

One side writes, the other reads. A sheet lies at a place, a small number; the file that makes it is sent once, with the
first message that names it. A place is written again when the reader said that it is free. What was read is not copied:
where somebody keeps it, the sheet is theirs, and the place gets another.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lqhq.server.workers.messages import Tensor
from lqhq.server.workers.packets import LostError

__all__ = ["SheetReader", "SheetWriter", "Written"]

Array = NDArray[Any]

ALIGNED = 64  # bytes: a cache line, and more than any engine asks of an array
LEAST_BYTES = 1 << 16
# A sheet that is so large and more than so many times what is needed is given up: pages that were once touched stay.
WASTED_BYTES, WASTED_TIMES = 8 << 20, 4
MOST_KEPT = 32  # sheets whose arrays somebody keeps, each an open file; what comes beyond is copied
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
DTYPES = frozenset({"<f2", "<f4", "<f8", "<i4", "<i8", "|u1", "|b1"})


class Written(NamedTuple):
    """Where arrays were written."""

    place: int
    tensors: tuple[Tensor, ...]


class _Sheet:
    """Memory of fixed size: a reader that maps it is safe from a writer that would cut it off."""

    def __init__(self, size: int) -> None:
        try:
            self.file = os.memfd_create("lqhq", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        except OSError as error:
            raise _no_memory(size, error) from error
        try:
            os.ftruncate(self.file, size)
            fcntl.fcntl(self.file, fcntl.F_ADD_SEALS, SEALS)
            self.memory = mmap.mmap(self.file, size)
        except OSError as error:
            self.close_file()
            raise _no_memory(size, error) from error

    def close_file(self) -> None:
        """The other side has it, or will not need it; the memory stays."""
        if self.file >= 0:
            os.close(self.file)
            self.file = -1


class SheetWriter:
    """The side that makes sheets."""

    def __init__(self) -> None:
        self._sheets: dict[int, _Sheet] = {}
        self._free: set[int] = set()
        self._places = 0

    @property
    def held_bytes(self) -> int:
        return sum(len(sheet.memory) for sheet in self._sheets.values())

    def write(self, arrays: Mapping[str, Array]) -> Written:
        """Copy `arrays` to a free place. Raises `MemoryError`."""
        tensors, size = [], 0
        for name, array in arrays.items():
            tensors.append(Tensor(name, array.dtype.str, array.shape, size))
            size += -(-array.nbytes // ALIGNED) * ALIGNED
        place = min(self._free, default=self._places)
        sheet = self._room(place, size)
        for tensor, array in zip(tensors, arrays.values(), strict=True):
            np.copyto(np.ndarray(tensor.shape, tensor.dtype, sheet.memory, tensor.at), array)
        self._free.discard(place)
        self._places = max(self._places, place + 1)
        return Written(place, tuple(tensors))

    def files(self, place: int) -> tuple[int, ...]:
        """What is to be sent with the message that names `place`: the sheet's file, or nothing where it was sent."""
        file = self._sheets[place].file
        return (file,) if file >= 0 else ()

    def sent(self, place: int) -> None:
        """The message went out."""
        self._sheets[place].close_file()

    def unsent(self, place: int, file: int) -> None:
        """The message came back unread with its `file`, which is this object's from now on."""
        sheet = self._sheets[place]
        sheet.close_file()
        sheet.file = file

    def free(self, place: int, *, kept: bool = False) -> None:
        """`place` may be written again; where the reader `kept` its memory, with another sheet."""
        if kept:
            self._sheets.pop(place).close_file()
        self._free.add(place)

    def clear(self) -> None:
        """Forget all."""
        for sheet in self._sheets.values():
            sheet.close_file()
        self._sheets.clear()
        self._free.clear()
        self._places = 0

    def _room(self, place: int, size: int) -> _Sheet:
        sheet = self._sheets.get(place)
        held = len(sheet.memory) if sheet else 0
        if sheet is None or held < size or held > max(WASTED_BYTES, WASTED_TIMES * size):
            # A power of two, so that sizes that differ a little share it; what is not touched takes no memory.
            new = _Sheet(max(LEAST_BYTES, 1 << max(0, size - 1).bit_length()))
            if sheet is not None:
                sheet.close_file()
            sheet = self._sheets[place] = new
        return sheet


class SheetReader:
    """The side that is sent sheets. Trusts nothing that is said of them."""

    def __init__(self) -> None:
        self._sheets: dict[int, mmap.mmap] = {}
        self._lent: dict[int, weakref.ref[Array]] = {}
        self._kept: list[weakref.ref[Array]] = []

    @property
    def held_bytes(self) -> int:
        return sum(map(len, self._sheets.values()))

    def take(self, place: int, files: Sequence[int]) -> None:
        """The sheet at `place` is that of the file, if one came; it stays open for the caller to close.

        Raises `LostError` for what is no sheet.
        """
        if not files:
            return
        try:
            sealed = fcntl.fcntl(files[0], fcntl.F_GET_SEALS) & SEALS == SEALS
            size = os.fstat(files[0]).st_size
            if len(files) != 1 or not sealed or not size:
                raise LostError(f"{len(files)} files, the first of {size} bytes, for one sealed sheet")
            self._sheets[place] = mmap.mmap(files[0], size)
        except OSError as error:
            raise LostError(f"a sheet that cannot be mapped ({error.strerror})") from error

    def arrays(self, place: int, tensors: Sequence[Tensor]) -> dict[str, Array]:
        """What was written at `place`, without a copy as long as not too much of it is kept. Raises `LostError`."""
        sheet = self._sheets.get(place)
        if sheet is None:
            raise LostError(f"arrays at place {place}, where there is no sheet")
        whole = np.frombuffer(sheet, np.uint8)
        self._lent[place] = weakref.ref(whole)
        self._kept = [one for one in self._kept if one() is not None]
        arrays = {tensor.name: _array(whole, tensor) for tensor in tensors}
        if len(self._kept) >= MOST_KEPT:
            return {name: array.copy() for name, array in arrays.items()}
        return arrays

    def settle(self, place: int) -> bool:
        """Whether nobody keeps what was read at `place`; where somebody does, the sheet is theirs."""
        lent = self._lent.pop(place, None)
        if lent is None or lent() is None:
            return True
        self._kept.append(lent)
        del self._sheets[place]
        return False

    def clear(self) -> None:
        """Forget all but what is kept."""
        self._sheets.clear()
        self._lent.clear()


def _array(whole: Array, tensor: Tensor) -> Array:
    if tensor.dtype not in DTYPES:
        raise LostError(f"an array of {tensor.dtype!r}")
    dtype = np.dtype(tensor.dtype)
    size = math.prod(tensor.shape) * dtype.itemsize
    if tensor.at % ALIGNED or tensor.at + size > whole.size:
        raise LostError(f"{size} bytes at {tensor.at} of a sheet of {whole.size}")
    array: Array = whole[tensor.at : tensor.at + size].view(dtype).reshape(tensor.shape)
    return array


def _no_memory(size: int, error: OSError) -> MemoryError:
    return MemoryError(f"{size} bytes of shared memory: {error.strerror}")
