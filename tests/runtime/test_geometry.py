"""Boxes and sizes."""

from __future__ import annotations

import numpy as np

from lqhq.runtime.geometry import Box, Size, round_up


def test_a_box_cuts_what_it_says():
    box = Box(top=2, left=3, height=4, width=5)
    image = np.arange(100).reshape(10, 10)
    assert image[box.rows, box.columns].shape == (4, 5) == box.size
    assert image[box.rows, box.columns][0, 0] == 23
    assert (box.bottom, box.right) == (6, 8)


def test_sizes_scale():
    assert Size(3, 5).scaled(4) == Size(12, 20)
    assert Size(3, 5).pixels == 15


def test_round_up_is_the_least_multiple_that_is_not_below():
    assert [round_up(length, 8) for length in (0, 1, 8, 9, 16)] == [0, 8, 8, 16, 16]
