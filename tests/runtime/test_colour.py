"""Colour fix: the original's uint8 results, strips of any height, exactness where nothing differs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lqhq.runtime.colour import fix_colour
from lqhq.runtime.errors import OptionError

GOLDEN = Path(__file__).parents[1] / "data/osediff-tiny/case-colorfix.npz"
KINDS = ("adain", "wavelet")
SEED = 20260702


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


def source_of(image):
    """The whole image as the lazy source that `fix_colour` asks strips of."""
    scale = {"uint8": 255, "uint16": 65535, "float32": 1}[image.dtype.name]
    return lambda box: image[box.rows, box.columns].astype(np.float32) / np.float32(scale)


def pair(height, width, channels=3, seed=SEED):
    """Smooth images that differ in colour and contrast, float32 within 0..1."""
    rng = np.random.default_rng(seed)
    hq = rng.random((height, width, channels), np.float32)
    source = 0.2 + 0.5 * np.cumsum(rng.random((height, width, channels)), axis=0) / max(height, 1)
    return hq, source.astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_the_golden_pixels_are_equal(golden, kind):
    result = fix_colour(kind, golden["target_u8"], source_of(golden["source_u8"]), mode="truncate")
    assert result.dtype == np.uint8
    assert np.array_equal(result, golden[f"{kind}_u8"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_golden_floats_are_met_and_clipped(golden, kind):
    target = golden["target_f32"][0].transpose(1, 2, 0)
    result = fix_colour(kind, target, source_of(golden["source_u8"]), mode="round")
    expected = golden[f"{kind}_f32"][0].transpose(1, 2, 0)
    assert np.abs(result - expected.clip(0, 1)).max() < 1e-6
    assert kind == "adain" or expected.min() < 0  # the clip is really tried


def test_a_wrong_wavelet_level_is_noticed(golden, monkeypatch):
    monkeypatch.setattr("lqhq.runtime.colour.RADII", (1, 2, 4, 8, 15))
    monkeypatch.setattr("lqhq.runtime.colour.HALO", 30)
    wrong = fix_colour("wavelet", golden["target_u8"], source_of(golden["source_u8"]), mode="truncate")
    assert not np.array_equal(wrong, golden["wavelet_u8"])


@pytest.mark.parametrize("fault", ["channels", "shift", "round"])
@pytest.mark.parametrize("kind", KINDS)
def test_planted_faults_are_noticed(golden, kind, fault):
    target, source = golden["target_u8"], golden["source_u8"]
    mode = "round" if fault == "round" else "truncate"
    if fault == "channels":
        source = source[:, :, ::-1]
    elif fault == "shift":
        source = np.roll(source, 1, axis=0) // 2
    wrong = fix_colour(kind, target, source_of(source), mode=mode)
    assert (wrong != golden[f"{kind}_u8"]).mean() > 0.2


@given(
    kind=st.sampled_from(KINDS),
    height=st.integers(1, 90),
    width=st.integers(1, 40),
    rows=st.integers(1, 95),
    channels=st.sampled_from([1, 3]),
)
@settings(max_examples=120, deadline=None)
def test_the_height_of_a_strip_does_not_matter(kind, height, width, rows, channels):
    hq, source = pair(height, width, channels)
    whole = fix_colour(kind, hq, source_of(source), mode="round", strip_rows=height)
    strips = fix_colour(kind, hq, source_of(source), mode="round", strip_rows=rows)
    assert np.abs(whole - strips).max() <= 1e-6


def test_strips_one_row_off_are_noticed(monkeypatch):
    """The planted fault of the strips."""
    hq, source = pair(200, 8)
    whole = fix_colour("wavelet", hq, source_of(source), mode="round", strip_rows=200)
    monkeypatch.setattr("lqhq.runtime.colour.HALO", 32)
    assert np.abs(fix_colour("wavelet", hq, source_of(source), mode="round", strip_rows=64) - whole).max() > 1e-4


def test_wavelet_against_the_definition():
    """An oracle written differently: whole image, float64, both cascades, high bands added one by one."""
    hq, source = pair(70, 45)

    def bands(x):
        high = np.zeros_like(x)
        for r in (1, 2, 4, 8, 16):
            padded = np.pad(x, ((r, r), (r, r), (0, 0)), mode="edge")
            low = np.zeros_like(x)
            for i, wy in enumerate((1, 2, 1)):
                for j, wx in enumerate((1, 2, 1)):
                    low += wy * wx / 16 * padded[i * r : i * r + x.shape[0], j * r : j * r + x.shape[1]]
            high, x = high + x - low, low
        return high, x

    expected = bands(hq.astype(np.float64))[0] + bands(source.astype(np.float64))[1]
    result = fix_colour("wavelet", hq, source_of(source), mode="round", strip_rows=9)
    assert np.abs(result - expected.clip(0, 1)).max() < 1e-6


def test_adain_moves_mean_and_deviation_of_the_whole_image():
    hq, source = pair(301, 37)
    source = 0.35 + 0.3 * np.random.default_rng(SEED + 1).random(source.shape, np.float32)  # nothing is clipped
    result = fix_colour("adain", hq, source_of(source), mode="round", strip_rows=10)
    assert np.allclose(result.mean((0, 1)), source.mean((0, 1)), atol=1e-6)
    assert np.allclose(result.std((0, 1), ddof=1), source.std((0, 1), ddof=1), rtol=2e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_an_image_that_is_its_own_source_is_kept(kind, dtype):
    values = np.random.default_rng(SEED).integers(0, np.iinfo(dtype).max, (60, 50, 3), endpoint=True)
    image = values.astype(dtype)
    for mode in ("round", "truncate"):
        result = fix_colour(kind, image, source_of(image), mode=mode)
        assert result is not image
        # adain divides by the deviation and multiplies by it again, which may lose the last bit before truncation.
        assert np.abs(result.astype(int) - image).max() <= (1 if kind == "adain" and mode == "truncate" else 0)


@pytest.mark.parametrize(("mode", "integer", "bias"), [("round", np.rint, 0.0), ("truncate", np.floor, -0.5)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_are_the_float_result_rounded_or_cut_off(mode, integer, bias, dtype):
    full = np.float32(np.iinfo(dtype).max)
    hq, source = pair(40, 40)
    pixels = (hq * full).astype(dtype)
    result = fix_colour("wavelet", pixels, source_of(source), mode=mode)
    exact = fix_colour("wavelet", pixels.astype(np.float32) / full, source_of(source), mode=mode) * full
    assert result.dtype == dtype
    assert (result == integer(exact)).mean() > 0.999
    inside = (exact > 0) & (exact < full)  # what was clipped has no fraction
    assert (result - exact)[inside].mean() == pytest.approx(bias, abs=0.03)


def test_the_source_is_asked_for_strips_within_the_image():
    hq, source = pair(300, 10)
    asked = []

    def lazy(box):
        asked.append(box)
        return source_of(source)(box)

    fix_colour("wavelet", hq, lazy, mode="round", strip_rows=64)
    assert max(box.height for box in asked) <= 64 + 2 * 31
    assert all(box.top >= 0 and box.bottom <= 300 and (box.left, box.width) == (0, 10) for box in asked)


def test_wrong_requests_are_refused():
    hq, source = pair(20, 20)
    with pytest.raises(OptionError, match="'nofix'"):
        fix_colour("nofix", hq, source_of(source), mode="round")
    with pytest.raises(OptionError, match=r"shape \(10, 20, 3\)"):
        fix_colour("adain", hq, source_of(source[:10]), mode="round")
