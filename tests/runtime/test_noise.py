"""Where a Job's noise comes from."""

from __future__ import annotations

import numpy as np
import pytest

from lqhq.kernels.noise import normal
from lqhq.runtime.errors import OptionError
from lqhq.runtime.geometry import Box, Size
from lqhq.runtime.noise import NoiseField, row_shapes


def field(injected=None, seed=4):
    shapes = row_shapes(3, Size(6, 10), rows=2) | {"prior": (7,)}
    return NoiseField(seed=seed, shapes=shapes, injected=injected)


def test_drawn_noise_is_the_kernels():
    box = Box(1, 2, 3, 4)
    expected = normal(seed=4, stream="step", row=1, channels=3, top=1, left=2, height=3, width=4)
    assert np.array_equal(field().step(1, box), expected)
    assert not np.array_equal(field().start(box), expected)


def test_injected_noise_is_cut_and_zero_in_the_padding():
    draw = np.random.default_rng(0)
    start, step = draw.random((3, 6, 10), np.float32), draw.random((2, 3, 6, 10), np.float32)
    noise = field({"start": start, "step": step})
    assert np.array_equal(noise.start(Box(2, 3, 2, 2)), start[:, 2:4, 3:5])
    part = noise.step(1, Box(4, 8, 4, 4))
    assert np.array_equal(part[:, :2, :2], step[1, :, 4:, 8:])
    assert not part[:, 2:].any()
    assert not part[:, :, 2:].any()


def test_a_vector_for_the_image_is_a_row_of_its_own_stream():
    box = {"top": 0, "left": 0, "height": 1, "width": 7}
    assert np.array_equal(field().prior(), normal(seed=4, stream="prior", row=0, channels=1, **box)[0, 0])
    given = np.arange(7, dtype=np.float32)
    assert field({"prior": given}).prior() is given


@pytest.mark.parametrize(
    "injected", [{"start": np.zeros((3, 6, 9), np.float32)}, {"steps": np.zeros((2, 3, 6, 10), np.float32)}]
)
def test_wrong_injections_are_refused(injected):
    with pytest.raises(OptionError, match="prepared image's size"):
        field(injected)


def test_a_stream_that_was_left_out_is_told():
    with pytest.raises(OptionError, match="every stream"):
        field({"start": np.zeros((3, 6, 10), np.float32)}).step(0, Box(0, 0, 2, 2))


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(OptionError, match="seed"):
        field(seed=seed)
