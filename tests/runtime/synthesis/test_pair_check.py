"""What a pair must be to count as there."""

from __future__ import annotations

import hashlib

import pytest

from lqhq.runtime.synthesis.pair import PairJob
from lqhq.runtime.synthesis.pair_check import Digests, follows, is_intact


def test_a_pair_follows_its_settings_and_no_others(recipe, sources):
    chosen = recipe()
    with chosen.open() as maker:
        pair = maker(PairJob(sources[0], 1))
    digest = hashlib.sha256(sources[0].path.read_bytes()).digest()
    assert follows(pair.row, chosen.settings, digest, 1)
    assert not follows(pair.row, chosen.settings, digest, 0)
    assert not follows(pair.row, chosen.settings, bytes(32), 1)
    assert not follows(pair.row, recipe(seed=1).settings, digest, 1)
    assert not follows(pair.row, recipe(strength=(0.1, 0.2)).settings, digest, 1)
    for name in ("source_sha256", "key", "noise_seed", "strength"):
        assert not follows({**pair.row, name: 0}, chosen.settings, digest, 1)


@pytest.mark.parametrize(
    ("lq", "hq", "intact"),
    [(b"lq", b"hq", True), (b"l", b"hq", False), (b"lq", b"h", False), (b"lq", None, False)],
)
def test_files_are_those_of_the_row(lq, hq, intact):
    row = {name: hashlib.sha256(name[:2].encode()).hexdigest() for name in ("lq_sha256", "hq_sha256")}
    assert is_intact(row, lq, hq) == intact


def test_digests_are_asked_for_once(tmp_path):
    digests = Digests()
    (tmp_path / "0").write_bytes(b"x")
    assert digests.of(tmp_path / "0") == hashlib.sha256(b"x").digest()
    (tmp_path / "0").write_bytes(b"y")
    assert digests.of(tmp_path / "0") == hashlib.sha256(b"x").digest()
    assert [digests.of(tmp_path / f"gone{index}") for index in range(4)] == [None] * 4
    assert digests.of(tmp_path / "0") == hashlib.sha256(b"y").digest()
