"""Noise: published vectors, the counter layout, and that no tiling or order changes a value."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lqhq.kernels.noise import normal
from lqhq.kernels.noise.reference import philox

# Random123, kat_vectors, "philox4x32 10": counter, key, result.
VECTORS = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
WHOLE = {"seed": 7, "stream": "step", "row": 3, "channels": 3, "top": 0, "left": 0, "height": 40, "width": 61}


def words(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    c0, c1, c2, c3 = (np.array([word], np.uint32) for word in counter)
    return tuple(int(word[0]) for word in philox((c0, c1, c2, c3), key))


@pytest.mark.parametrize(("counter", "key", "expected"), VECTORS)
def test_philox_matches_the_published_vectors(counter, key, expected):
    assert words(counter, key) == expected


def test_a_planted_fault_in_the_key_turns_the_vectors_red():
    counter, (k0, k1), expected = VECTORS[2]
    assert words(counter, (k0 ^ 1, k1)) != expected


def test_one_value_by_hand_from_the_documented_layout():
    """seed, stream, row, channel, y and x are where the package says, and the words are used as it says."""
    seed, y, x, channel, row = (5 << 32) | 9, 13, 21, 2, 4
    block = words((x // 4, y, channel, (1 << 16) + row), (9, 5))
    pair = block[0:2] if x % 4 < 2 else block[2:4]

    def uniform(word: int) -> float:
        signed = word - (1 << 32) if word >> 31 else word
        return float(np.float32(-signed - 1 if signed < 0 else signed) * np.float32(4.6566127342e-10))

    radius = math.sqrt(-2 * math.log(max(1e-7, uniform(pair[0]))))
    angle = 2 * math.pi * uniform(pair[1])
    expected = radius * (math.cos(angle) if x % 2 == 0 else math.sin(angle))
    value = normal(seed=seed, stream="step", row=row, channels=3, top=y, left=x, height=1, width=1)
    assert value[channel, 0, 0] == pytest.approx(expected, abs=1e-6)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 39), st.integers(0, 60), st.data())
def test_any_box_has_the_bits_of_the_whole(top, left, data):
    height = data.draw(st.integers(1, 40 - top))
    width = data.draw(st.integers(1, 61 - left))
    whole = normal(**WHOLE)
    part = normal(**(WHOLE | {"top": top, "left": left, "height": height, "width": width}))
    assert part.tobytes() == whole[:, top : top + height, left : left + width].tobytes()


@pytest.mark.parametrize("change", [{"seed": 8}, {"seed": 7 + (1 << 32)}, {"stream": "start"}, {"row": 4}])
def test_every_part_of_the_key_changes_every_value(change):
    assert not np.isclose(normal(**WHOLE), normal(**(WHOLE | change))).mean() > 0.01


def test_values_are_standard_normal():
    values = normal(**(WHOLE | {"height": 400, "width": 400})).ravel().astype(np.float64)
    spread = 4 / math.sqrt(len(values))
    assert abs(values.mean()) < spread
    assert abs(values.var() - 1) < spread * math.sqrt(2)
    assert abs((values**3).mean()) < spread * math.sqrt(15)
    assert abs((values**4).mean() - 3) < spread * math.sqrt(96)
    neighbours = np.corrcoef(values[:-1], values[1:])[0, 1]
    assert abs(neighbours) < spread


def test_positions_left_of_the_origin_are_defined():
    around = normal(**(WHOLE | {"left": -3}))
    assert np.array_equal(around[:, :, 3:], normal(**WHOLE)[:, :, :-3])


@pytest.mark.parametrize("change", [{"seed": -1}, {"seed": 1 << 64}, {"row": 1 << 16}])
def test_values_out_of_range_are_refused(change):
    with pytest.raises(ValueError, match="expected 0 to"):
        normal(**(WHOLE | change))
