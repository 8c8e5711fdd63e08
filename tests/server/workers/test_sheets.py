"""Arrays arrive as they were written, and stay so as long as somebody keeps them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from lqhq.server.workers import sheets
from lqhq.server.workers.messages import Tensor
from lqhq.server.workers.packets import LostError
from lqhq.server.workers.sheets import SheetReader, SheetWriter, Written

SEED = 7_101


class Pair:
    """A writer and a reader in one process."""

    def __init__(self) -> None:
        self.writer, self.reader = SheetWriter(), SheetReader()

    def send(self, arrays: dict[str, np.ndarray]) -> Written:
        written = self.writer.write(arrays)
        self.reader.take(written.place, self.writer.files(written.place))
        self.writer.sent(written.place)
        return written

    def back(self, written: Written) -> bool:
        """The reader is done; whether the sheet is free."""
        free = self.reader.settle(written.place)
        self.writer.free(written.place, kept=not free)
        return free


@pytest.fixture
def pair() -> Pair:
    return Pair()


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(SEED).standard_normal(shape, np.float32)


def test_arrays_come_as_they_were(pair: Pair) -> None:
    arrays = {
        "strided": values(2, 3, 8, 9)[:, :, ::2, ::-1],
        "ids": np.arange(77, dtype=np.int64)[None],
        "one": np.float32([0.5]),
        "half": values(5).astype(np.float16),
        "none": np.zeros((0, 3), np.float32),
    }
    found = pair.reader.arrays(*pair.send(arrays))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_a_place_is_written_again_only_when_it_is_free(pair: Pair) -> None:
    first = pair.send({"x": values(4)})
    second = pair.send({"x": values(4) + 1})
    assert first.place != second.place
    kept = pair.reader.arrays(*first)["x"].copy()
    assert pair.back(first)
    third = pair.send({"x": values(4) + 2})
    assert third.place == first.place
    assert pair.writer.files(third.place) == ()  # the reader has it already
    np.testing.assert_array_equal(pair.reader.arrays(*second)["x"], kept + 1)
    np.testing.assert_array_equal(pair.reader.arrays(*third)["x"], kept + 2)


def test_what_is_kept_never_changes(pair: Pair) -> None:
    first = pair.send({"x": values(2, 100)})
    kept = pair.reader.arrays(*first)["x"][1:, ::3]  # a view of a part
    wanted = kept.copy()
    assert not pair.back(first)
    again = pair.send({"x": values(2, 100) * 0})
    assert again.place == first.place
    np.testing.assert_array_equal(kept, wanted)  # a sheet that were written again would be all zeros
    kept[:] = 7  # it is the keeper's own
    np.testing.assert_array_equal(pair.reader.arrays(*again)["x"], 0)


def test_files_do_not_pile_up(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, open_files: Callable[[], frozenset[Any]]
) -> None:
    monkeypatch.setattr(sheets, "MOST_KEPT", 3)
    before, kept = open_files(), []
    for _ in range(10):
        written = pair.send({"x": values(50)})
        kept.append(pair.reader.arrays(*written)["x"])
        assert pair.back(written) == (len(kept) > 3)
    assert len(open_files() - before) <= 5  # three that are kept, and one on each side
    for array in kept:
        np.testing.assert_array_equal(array, values(50))
    del kept, array
    assert len(open_files() - before) <= 2


def test_large_sheets_are_given_up_and_small_ones_grow(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheets, "WASTED_BYTES", 1 << 18)
    for count in (10, 100_000, 500_000, 10):
        written = pair.send({"x": values(count)})
        np.testing.assert_array_equal(pair.reader.arrays(*written)["x"], values(count))
        assert pair.back(written)
        assert written.place == 0
        assert 4 * count <= pair.writer.held_bytes == pair.reader.held_bytes <= max(1 << 18, 16 * count)


def test_forgetting_closes_everything(open_files: Callable[[], frozenset[Any]]) -> None:
    before, pair = open_files(), Pair()
    pair.send({"x": values(10)})
    pair.writer.write({"x": values(10)})  # never sent
    pair.writer.clear()
    pair.reader.clear()
    assert not open_files() - before
    assert pair.send({"x": values(10)}).place == 0
    pair.writer.clear()
    pair.reader.clear()
    assert not open_files() - before


def test_a_message_that_came_back_can_be_sent_again(pair: Pair) -> None:
    written = pair.writer.write({"x": values(10)})
    (file,) = pair.writer.files(written.place)
    carried = os.dup(file)  # as a socket does
    pair.writer.sent(written.place)
    assert pair.writer.files(written.place) == ()
    pair.writer.unsent(written.place, carried)
    assert pair.writer.files(written.place) == (carried,)
    pair.reader.take(written.place, (carried,))
    pair.writer.sent(written.place)
    np.testing.assert_array_equal(pair.reader.arrays(*written)["x"], values(10))


def test_no_memory_is_an_error_of_the_request(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    first = pair.send({"x": values(10)})
    pair.back(first)

    def full(*_: object) -> None:
        raise OSError(12, "no memory left")

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", full)
        with pytest.raises(MemoryError, match="no memory left"):
            pair.writer.write({"x": values(100_000)})
    np.testing.assert_array_equal(pair.reader.arrays(*pair.send({"x": values(10)}))["x"], values(10))


def memory(size: int, seals: int = sheets.SEALS) -> int:
    file = os.memfd_create("test", os.MFD_ALLOW_SEALING)
    os.ftruncate(file, size)
    fcntl.fcntl(file, fcntl.F_ADD_SEALS, seals)
    return file


@pytest.mark.parametrize("make", [lambda: memory(4096, fcntl.F_SEAL_GROW), lambda: os.dup(0), lambda: memory(0)])
def test_what_is_no_sealed_sheet_is_refused(make: object) -> None:
    file = make()  # type: ignore[operator]
    with pytest.raises(LostError):
        SheetReader().take(0, (file,))  # one that shrinks later would end this process
    os.close(file)


@pytest.mark.parametrize(
    "tensors",
    [
        [Tensor("x", "<f4", (1025,), 0)],
        [Tensor("x", "<f4", (1,), 4096)],
        [Tensor("x", "<f4", (1,), 4)],
        [Tensor("x", "<f8", (1 << 40, 1 << 40), 0)],
        [Tensor("x", "|O", (1,), 0)],
        [Tensor("x", ">f4", (1,), 0)],
    ],
    ids=["longer", "behind", "crooked", "huge", "objects", "foreign"],
)
def test_arrays_that_cannot_be_are_refused(tensors: Sequence[Tensor]) -> None:
    reader, file = SheetReader(), memory(4096)
    reader.take(0, (file,))
    os.close(file)
    assert reader.arrays(0, [Tensor("x", "<f4", (1024,), 0)])["x"].shape == (1024,)
    with pytest.raises(LostError):
        reader.arrays(0, tensors)
    with pytest.raises(LostError, match="no sheet"):
        reader.arrays(1, tensors)
