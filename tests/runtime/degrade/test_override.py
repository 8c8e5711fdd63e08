"""Files that say in what a degradation differs: everything doubtful is refused, with where and why."""

from __future__ import annotations

import os

import pytest

from lqhq.runtime.degrade.override import MAX_BYTES, overridden
from lqhq.runtime.degrade.presets import PRESETS
from lqhq.runtime.errors import LimitError, LqhqError, OptionError

MILD = 'base = "mild"\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "found no `base`"),
        ('base = "heavy"', "found base = 'heavy'; expected one of mild, real-esrgan, bsrgan, none"),
        ("base = 3", "found base = 3"),
        (MILD + "blurr = 1", "unknown field `blurr`"),
        (MILD + "first.blur.sigmas = [1, 2]", "unknown field `sigmas` - at `$.first.blur`"),
        (MILD + "first.blur.kinds.iso = 0.5", "sum to 1.05"),
        (MILD + "first.resize.keep = 0.0", "up, down, keep sum to 0.9"),
        (MILD + "final_modes = {area = 1.0}", "sum to 1.66666667"),
        (MILD + "jpeg_last = 1.5", "<= 1.0 - at `$.jpeg_last`"),
        (MILD + "jpeg_last = nan", "at `$.jpeg_last`"),
        (MILD + "jpeg_last = true", "got `bool`"),
        (MILD + "jpeg_last = 1979-05-27", "at `$.jpeg_last`"),
        (MILD + "first.jpeg = [60, 101]", "<= 100 - at `$.first.jpeg[1]`"),
        (MILD + "first.jpeg = [60.5, 95]", "Expected `int`"),
        (MILD + "first.jpeg = [95, 60]", "`jpeg` runs from 95 to 60"),
        (MILD + "first.jpeg = 60", "Expected `array`"),
        (MILD + "first.blur.size = [7, 65]", "<= 63"),
        (MILD + "first.blur.size = [8, 21]", "a filter's size is odd"),
        (MILD + "first.blur.sigma = [3, 0.2]", "`sigma` runs from 3.0 to 0.2"),
        (MILD + "first.blur.sigma = [-1, 0.2]", ">= 0.0"),
        (MILD + "first.blur.sigma = [1, inf]", "<= 64.0"),
        (MILD + "first.blur.sigma = [1, 2, 3]", "of length 2, got 3"),
        (MILD + "first.blur.generalised_beta = [1.5, 4]", "<= 1.0"),
        (MILD + "first.resize.up_factor = [1, 5]", "<= 4.0"),
        (MILD + "first.resize.down_factor = [0, 1]", ">= 0.03125"),
        (MILD + "first.noise.sigma = [20, 10]", "`sigma` runs"),
        (MILD + "final_sinc.size = [7, 20]", "odd"),
        (MILD + "final_sinc.cutoff = [0.9, 0.2]", "`cutoff` runs"),
        (MILD + "sharpen.size = 50", "odd"),
        (MILD + "sharpen = 0.5", "Expected `object`"),
        (MILD + "first = []", "Expected `object`"),
        ('base = "none"\nscale = 4', "unknown field `scale`"),
        ('base = "bsrgan"\nblur.size = [7, 26]', "odd"),
        ('base = "bsrgan"\nreduce.size = 4', "odd"),
        ('base = "bsrgan"\nnoise.gray = 0.5', "sum to 1.1"),
        ('base = "bsrgan"\nnoise.sigma = [25, 2]', "`sigma` runs"),
        ('base = "bsrgan"\nquality = [95, 30]', "`quality` runs"),
        ('base = "bsrgan"\nreduce.sigma = [0.7, 0.6]', "`sigma` runs"),
        (MILD + MILD, "not TOML"),
        ("base", "not TOML"),
        (MILD + "jpeg_last = " + "9" * 5000, "found"),
        (MILD + "jpeg_last = " + "[" * 20000, "nested too deep"),
        (MILD + "x = {a = " * 200, "not TOML"),
    ],
)
def test_refusals(tmp_path, text, told):
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(OptionError) as caught:
        overridden(str(path), PRESETS)
    assert told in str(caught.value)
    assert caught.value.where == str(path)
    assert caught.value.mend


def test_what_is_no_text(tmp_path):
    path = tmp_path / "own.toml"
    path.write_bytes(b'base = "mild" # \xff')
    with pytest.raises(OptionError, match="not TOML"):
        overridden(str(path), PRESETS)


def test_large_files_are_not_read(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(MILD + "#" * (MAX_BYTES - len(MILD)))
    overridden(str(path), PRESETS)
    path.write_text(MILD + "#" * (MAX_BYTES - len(MILD) + 1))
    with pytest.raises(LimitError, match="65536 bytes"):
        overridden(str(path), PRESETS)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    (tmp_path / "folder.toml").mkdir()
    for name in ("missing.toml", "pipe.toml", "folder.toml", "n" * 300 + ".toml"):
        with pytest.raises(LqhqError, match="found"):
            overridden(str(tmp_path / name), PRESETS)
