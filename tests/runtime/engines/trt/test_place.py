"""The key of a recorded graph; how a place is driven, `test_session.py` shows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lqhq.runtime.engines.trt.place import Place


class Memory:
    def __init__(self, address: int, shape: tuple[int, ...]) -> None:
        self.address, self.shape = address, shape

    def data_ptr(self) -> int:
        return self.address


class Arrays:
    stream = 1

    def __init__(self, start: int) -> None:
        self.next = start

    def empty(self, shape: tuple[int, ...]) -> Memory:
        self.next += 256
        return Memory(self.next, shape)


def place(*, profile: int = 0, width: int = 8, start: int = 0) -> Place:
    yes = lambda *_: True  # noqa: E731
    context = SimpleNamespace(
        set_optimization_profile_async=yes,
        set_input_shape=yes,
        infer_shapes=list,
        get_tensor_shape=lambda _name: (1, width),
        set_tensor_address=yes,
    )
    arrays: Any = Arrays(start)
    return Place(
        "x", context, arrays, profile=profile, inputs={"a": (1, 8)}, outputs={"b": (1, width)}, say=lambda _line: None
    )


SCRATCH: Any = Memory(7, (4096,))


def test_equal_places_have_equal_keys():
    assert place().capture_key(SCRATCH) == place().capture_key(SCRATCH)


@pytest.mark.parametrize("change", [{"profile": 1}, {"width": 9}, {"start": 512}])
def test_whatever_a_graph_holds_fast_changes_the_key(change):
    assert place(**change).capture_key(SCRATCH) != place().capture_key(SCRATCH)


def test_the_memory_to_compute_in_is_part_of_it():
    moved: Any = Memory(8, (4096,))
    assert place().capture_key(moved) != place().capture_key(SCRATCH)
