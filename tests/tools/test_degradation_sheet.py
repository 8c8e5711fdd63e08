"""The contact sheet: every draw in its place, told in words, and the same again."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from lqhq.runtime.degrade import NAMES, draw_steps, load_degradation
from lqhq.runtime.errors import OptionError
from lqhq.tools.degradation_sheet import GAP, LINE, LINES, _rgb, caption, main, sheet

SIDE = 64


def photo() -> np.ndarray:
    y, x = np.mgrid[0:80, 0:100]
    return np.stack((x * 2, y * 3, 255 - x - y), axis=-1).clip(0, 255).astype(np.uint8)


def cell(made: Image.Image, row: int, column: int) -> np.ndarray:
    left, top = GAP + column * (SIDE + GAP), GAP + row * (SIDE + LINES * LINE + GAP)
    return np.asarray(made)[top : top + SIDE, left : left + SIDE]


def test_places() -> None:
    made = sheet([photo()], ["none", "mild"], draws=2, side=SIDE, scale=4, seed=0)
    assert made.size == (3 * (SIDE + GAP) + GAP, 2 * (SIDE + LINES * LINE + GAP) + GAP)
    middle = photo()[8:72, 18:82]
    for row in range(2):
        assert np.array_equal(cell(made, row, 0), middle)
    plain = cell(made, 0, 1)
    assert np.array_equal(plain, cell(made, 0, 2))  # "none" draws nothing
    assert np.array_equal(plain, plain[::4, ::4].repeat(4, axis=0).repeat(4, axis=1))
    assert abs(plain.astype(int) - middle).mean() < 4
    assert not np.array_equal(cell(made, 1, 1), cell(made, 1, 2))


def test_captions_tell_every_step() -> None:
    for name in NAMES:
        for index in range(40):
            steps = draw_steps(load_degradation(name), scale=4, key=bytes([index]) * 32)
            told = caption([msgspec.to_builtins(step) for step in steps], width=44)
            assert sum(line.count(",") + 1 for line in told) == len(steps)
            assert all(0 < len(line) <= 44 for line in told)
            assert len(told) <= LINES


def test_planted_number_shows() -> None:
    noise = {"op": "gaussian_noise", "sigma": 12.0, "gray": True}
    assert caption([noise], width=40) == ["gray 12"]
    assert caption([{**noise, "sigma": 13.0, "gray": False}], width=40) == ["rgb 13"]


def test_file_is_the_same_again(tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "photo.png")
    for name in ("one.png", "two.png"):
        main([str(tmp_path / name), str(tmp_path / "photo.png"), "--names", "mild", "--draws", "1", "--side", "32"])
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["one.png", "photo.png", "two.png"]


def test_unknown_name(tmp_path: Path) -> None:
    Image.fromarray(photo()).save(tmp_path / "photo.png")
    with pytest.raises(OptionError, match="heavy"):
        main([str(tmp_path / "one.png"), str(tmp_path / "photo.png"), "--names", "heavy"])
    assert not (tmp_path / "one.png").exists()


@pytest.mark.parametrize(("bands", "bits"), [(1, np.uint8), (2, np.uint8), (3, np.uint16), (4, np.uint16)])
def test_every_kind_of_file_becomes_8_bit_colours(bands: int, bits: type) -> None:
    full = np.iinfo(bits).max
    found = _rgb(np.full((2, 3, bands), full, bits))
    assert found.dtype == np.uint8
    assert found.shape == (2, 3, 3)
    assert (found == 255).all()
