"""Keys: what goes in, what does not, and that what is drawn from one is spread as it should be."""

from __future__ import annotations

import hashlib
import itertools

import numpy as np

from lqhq.runtime.synthesis.pair_key import file_digest, noise_seed, pair_key, strength_share

DIGEST = hashlib.sha256(b"an image").digest()


def test_the_key_is_pinned():
    """Data sets that were made must come out the same again."""
    assert pair_key(7, DIGEST, 3) == hashlib.sha256(b"\7" + bytes(7) + DIGEST + b"\3" + bytes(7)).digest()
    key = pair_key(7, DIGEST, 3)
    assert noise_seed(key) == int.from_bytes(hashlib.sha256(key + b"noise").digest()[:8], "little") // 2
    drawn = int.from_bytes(hashlib.sha256(key + b"strength").digest()[:8], "little")
    assert strength_share(key) == (drawn >> 11) / 2**53


def test_seed_content_and_number_all_count():
    other = hashlib.sha256(b"another").digest()
    keys = {pair_key(*parts) for parts in itertools.product((0, 1, 2**64 - 1), (DIGEST, other), (0, 1, 256))}
    assert len(keys) == 18


def test_draws_are_uniform_and_apart():
    keys = [pair_key(0, DIGEST, index) for index in range(2000)]
    shares = np.array([strength_share(key) for key in keys])
    seeds = np.array([noise_seed(key) for key in keys], np.float64) / 2**63
    for draws in (shares, seeds):
        assert 0 <= draws.min() <= draws.max() < 1
        assert abs(draws.mean() - 0.5) < 0.02  # three deviations
        assert abs(draws.var() - 1 / 12) < 0.006
    assert abs(np.corrcoef(shares, seeds)[0, 1]) < 0.07


def test_a_files_digest(tmp_path):
    data = np.random.default_rng(0).bytes(3 << 20)
    (tmp_path / "x").write_bytes(data)
    assert file_digest(tmp_path / "x") == hashlib.sha256(data).digest()
