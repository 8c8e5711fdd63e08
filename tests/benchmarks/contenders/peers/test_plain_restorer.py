"""What the peers compute is what lqhq computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from contenders.identity_bundle import write_identity
from contenders.peers.plain_restorer import PlainRestorer, cubic_matrix
from measuring.scene import scene

from lqhq.runtime import Restorer
from lqhq.runtime.geometry import Box
from lqhq.runtime.resize import enlarge

SIDE = 20


@pytest.mark.parametrize("scale", [1, 4])
def test_it_answers_with_lqhqs_pixels(tiny_bundle: Callable[..., Path], scale: int) -> None:
    bundle, image = tiny_bundle(scale=scale), scene(SIDE, SIDE)
    with Restorer.open(str(bundle), threads=1) as restorer:
        expected = restorer.restore(image, tile=4 * SIDE)
    plain = PlainRestorer(str(bundle), SIDE, 1)
    found = plain.restore(image)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert plain.restore_bytes(image.tobytes()) == found.tobytes()


def test_the_identity_is_exact(tmp_path: Path) -> None:
    plain = PlainRestorer(str(write_identity(tmp_path / "identity")), 16, 1)
    levels = np.arange(256 * 3, dtype=np.uint8).reshape(16, 16, 3)
    assert np.array_equal(plain.restore(levels), levels)


def test_the_matrix_enlarges_as_lqhq_does() -> None:
    image = scene(9, 9)
    matrix = cubic_matrix(9, 4)
    found = np.einsum("yr,rcx,zc->yzx", matrix, image.astype(np.float32), matrix)
    assert np.abs(found - enlarge(image, 4, "bicubic", Box(0, 0, 36, 36))).max() < 1e-3
