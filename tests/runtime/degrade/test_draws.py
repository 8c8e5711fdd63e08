"""Draws: pinned numbers, moments, and streams that know nothing of each other."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from lqhq.runtime.degrade.draws import BLOCK, Draws

KEY = bytes(range(32))
MASK = (1 << 64) - 1


def philox_4x64(counter: int, key: int) -> list[int]:
    """The published algorithm (Salmon et al., SC 2011) in Python's integers."""
    c = [counter >> (64 * i) & MASK for i in range(4)]
    k = [key & MASK, key >> 64 & MASK]
    for _ in range(10):
        a, b = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [b >> 64 ^ c[1] ^ k[0], b & MASK, a >> 64 ^ c[3] ^ k[1], a & MASK]
        k = [(k[0] + 0x9E3779B97F4A7C15) & MASK, (k[1] + 0xBB67AE8584CAA73B) & MASK]
    return c


def test_numbers_are_the_documented_ones():
    digest = hashlib.sha256(b"\x03\0\0\0" + KEY).digest()
    key = int.from_bytes(digest[:16], "little")
    expected = [word >> 11 for counter in (1, 2) for word in philox_4x64(counter, key)]
    assert (Draws(KEY, 3).uniforms(8) * 2.0**53).astype(np.int64).tolist() == expected


def test_one_by_one_is_all_at_once():
    one, all_at_once = Draws(KEY, 0), Draws(KEY, 0)
    assert [one.uniform(0, 1) for _ in range(9)] == all_at_once.uniforms(9).tolist()


def test_streams_and_keys_are_independent():
    fields = [Draws(KEY, 0), Draws(KEY, 1), Draws(KEY[::-1], 0)]
    found = np.corrcoef([field.normals(40000) for field in fields])
    assert abs(found - np.eye(3)).max() < 0.02  # four deviations of 1 / sqrt(40000)


def test_normals_are_normal():
    values = Draws(KEY, 1).normals(400001).astype(np.float64)
    assert values.shape == (400001,)
    assert abs(values.mean()) < 0.008
    assert abs(values.var() - 1) < 0.01
    assert abs((values**4).mean() - 3) < 0.06
    assert abs((values[:-1] * values[1:]).mean()) < 0.008  # the two of a pair
    assert np.isfinite(values).all()


def test_normals_do_not_depend_on_how_many():
    assert np.array_equal(Draws(KEY, 1).normals(7), Draws(KEY, 1).normals(2 * BLOCK + 3)[:7])


def test_whole_numbers_reach_both_ends_equally():
    draws = Draws(KEY, 2)
    counts = np.bincount([draws.whole(3, 7) for _ in range(5000)], minlength=9)
    assert counts[:3].sum() == counts[8:].sum() == 0
    assert abs(counts[3:8] - 1000).max() < 120  # four deviations of a binomial


def test_chances_at_the_ends():
    draws = Draws(KEY, 2)
    assert not any(draws.chance(0) for _ in range(500))
    assert all(draws.chance(1) for _ in range(500))


@pytest.mark.parametrize("weights", [{"a": 0.2, "b": 0.0, "c": 0.8}, {"a": 0.2, "b": 0.0, "c": 0.8 - 1e-7}])
def test_picks_follow_their_weights(weights):
    draws = Draws(KEY, 4)
    found = [draws.pick(weights) for _ in range(5000)]
    assert abs(found.count("a") - 1000) < 120
    assert "b" not in found


def test_a_sum_below_one_falls_to_the_likeliest():
    draws = Draws(KEY, 4)
    assert {draws.pick({"a": 1e-12, "b": 2e-12}) for _ in range(50)} == {"b"}
