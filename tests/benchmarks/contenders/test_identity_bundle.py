"""The identity is a bundle like others: it opens, passes its own goldens, and gives back what it gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from contenders.identity_bundle import write_identity

from lqhq.runtime import Restorer, open_bundle
from lqhq.runtime.selfcheck import replay


def test_it_passes_its_own_check_and_changes_no_level(tmp_path: Path) -> None:
    bundle = open_bundle(write_identity(tmp_path / "identity"))
    assert replay(bundle, threads=1).passed
    levels = np.arange(256 * 3, dtype=np.uint8).reshape(16, 16, 3)
    with Restorer.open(bundle, threads=1) as restorer:
        assert np.array_equal(restorer.restore(levels), levels)
        assert len(restorer.plan(np.zeros((128, 128, 3), np.uint8)).plan) == 1
