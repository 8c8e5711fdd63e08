"""`degrade` as its callers see it: sizes, refusals, records, and the same bytes for the same key."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
import pytest

from lqhq.runtime.degrade import NAMES, crop_to_scale, degrade, draw_steps, load_degradation
from lqhq.runtime.degrade.apply import apply_steps
from lqhq.runtime.degrade.degraded import MAX_SCALE
from lqhq.runtime.degrade.steps import GaussianNoise, Step
from lqhq.runtime.errors import ImageError, LimitError, OptionError
from lqhq.runtime.geometry import Size
from lqhq.runtime.resample import resample_u8


def key(index):
    return hashlib.sha256(b"degraded 20261122 %d" % index).digest()


def photo(height, width):
    """Waves of several lengths and a little grain, coloured."""
    y, x = np.mgrid[0:height, 0:width]
    waves = np.stack((np.sin(x / 5) * np.cos(y / 6), np.sin((x - y) / 9), np.cos(y / 14)), axis=-1)
    grain = np.random.default_rng(20261122).normal(0, 5, waves.shape)
    return np.clip((140, 120, 90) + 70 * waves + grain, 0, 255).astype(np.uint8)


CHILD = """
import hashlib, sys
import numpy as np
from lqhq.runtime.degrade import degrade, load_degradation
image = np.arange(96 * 64 * 3, dtype=np.uint32).reshape(96, 64, 3) * 2654435761 >> 24
for name in ("mild", "real-esrgan", "bsrgan"):
    found = degrade(image.astype(np.uint8), load_degradation(name), scale=4, key=bytes(range(32)))
    print(hashlib.sha256(found.pixels.tobytes()).hexdigest())
"""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(4, 4), (7, 5), (61, 90), (64, 4)])
def test_sizes(name, size):
    for index in range(3):
        found = degrade(photo(*size), load_degradation(name), scale=4, key=key(index))
        assert found.pixels.dtype == np.uint8
        assert found.pixels.shape == (size[0] // 4, size[1] // 4, 3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", [1, 2, 3, MAX_SCALE])
def test_scales(name, scale):
    image = photo(50, 67)
    hq, lq = crop_to_scale(image, scale), degrade(image, load_degradation(name), scale=scale, key=key(1)).pixels
    assert hq.shape[:2] == tuple(scale * side for side in lq.shape[:2])
    assert np.array_equal(hq, image[: hq.shape[0], : hq.shape[1]])


@pytest.mark.parametrize("name", NAMES)
def test_one_pixel(name):
    pixel = np.full((1, 1, 3), 77, np.uint8)
    for index in range(6):
        assert degrade(pixel, load_degradation(name), scale=1, key=key(index)).pixels.shape == (1, 1, 3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [0, 255])
def test_black_and_white(name, level):
    flat = np.full((48, 48, 3), level, np.uint8)
    for index in range(4):
        found = degrade(flat, load_degradation(name), scale=4, key=key(index)).pixels
        assert found.shape == (
            12,
            12,
            3,
        )  # and no warning; white alone, a single level, has Poisson noise beyond measure
        assert level or found.mean() < 30


@pytest.mark.parametrize("name", NAMES)
def test_channels_keep_their_places(name):
    image = photo(96, 96) // 6 + np.array((180, 100, 20), np.uint8)  # of many levels, for the Poisson noise
    means = image.mean(axis=(0, 1))
    for index in range(8):
        found = degrade(image, load_degradation(name), scale=4, key=key(index)).pixels.mean(axis=(0, 1))
        assert found[0] > found[1] + 40 > found[2] + 80  # strong noise is clipped, which moves the means
        assert abs(found - means).max() < 25 < abs(found[::-1] - means).max()  # planted: channels swapped


def test_none_is_antialiased_bicubic():
    image = photo(64, 96)
    found = degrade(image, load_degradation("none"), scale=4, key=key(0)).pixels
    assert abs(found.astype(int) - resample_u8(image, Size(16, 24), "bicubic")).max() <= 1
    assert np.array_equal(degrade(image, load_degradation("none"), scale=1, key=key(0)).pixels, image)


@pytest.mark.parametrize("name", NAMES[:3])
def test_same_key_same_bytes_in_any_thread_and_order(name):
    image, degradation = photo(61, 90), load_degradation(name)
    alone = [degrade(image, degradation, scale=4, key=key(index)) for index in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda i: degrade(image, degradation, scale=4, key=key(i)), reversed(range(8))))
    for one, other in zip(alone, reversed(together), strict=True):
        assert np.array_equal(one.pixels, other.pixels)
        assert one.parameters == other.parameters
    assert len({found.pixels.tobytes() for found in alone}) == 8


def test_same_bytes_in_another_process_with_other_threads():
    variables = dict.fromkeys(("VIPS_CONCURRENCY", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "3")
    command, env = [sys.executable, "-c", CHILD], {**os.environ, **variables}
    there = subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout.split()
    image = (np.arange(96 * 64 * 3, dtype=np.uint32).reshape(96, 64, 3) * 2654435761 >> 24).astype(np.uint8)
    here = [degrade(image, load_degradation(name), scale=4, key=bytes(range(32))).pixels for name in NAMES[:3]]
    assert there == [hashlib.sha256(pixels.tobytes()).hexdigest() for pixels in here]
    assert len(set(there)) == 3


@pytest.mark.parametrize("name", NAMES)
def test_what_is_recorded_is_what_was_done(name):
    image, degradation = photo(64, 48), load_degradation(name)
    for index in range(5):
        found = degrade(image, degradation, scale=4, key=key(index))
        kept = json.loads(json.dumps(found.parameters))
        assert kept == list(found.parameters)
        steps = msgspec.convert(kept, tuple[Step, ...])
        assert steps == draw_steps(degradation, scale=4, key=key(index))
        assert np.array_equal(apply_steps(image, steps, lq=Size(16, 12), key=key(index)), found.pixels)
        wrong = tuple(
            msgspec.structs.replace(step, sigma=step.sigma + 5) if isinstance(step, GaussianNoise) else step
            for step in steps
        )
        if wrong != steps:  # planted
            assert not np.array_equal(apply_steps(image, wrong, lq=Size(16, 12), key=key(index)), found.pixels)


def test_stronger_presets_damage_more():
    """Mean squared distance to the plain reduction, over keys."""
    image = photo(64, 64)
    plain = degrade(image, load_degradation("none"), scale=4, key=key(0)).pixels.astype(float)

    def damage(name):
        found = [degrade(image, load_degradation(name), scale=4, key=key(index)).pixels for index in range(8)]
        return np.square(np.array(found) - plain).mean()

    assert 0 < damage("mild") < damage("real-esrgan")


def test_images_that_are_refused():
    none = load_degradation("none")
    for image in (
        photo(3, 40),
        photo(40, 3),
        photo(8, 8)[:, :, 0],
        photo(8, 8)[:, :, :2],
        photo(8, 8).astype(np.float32),
        photo(8, 8).tolist(),
        np.zeros((0, 8, 3), np.uint8),
    ):
        with pytest.raises(ImageError, match="found"):
            degrade(image, none, scale=4, key=key(0))
    huge = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (1 << 14, 1 << 14, 3))
    with pytest.raises(LimitError, match="16384 x 16384"):
        degrade(huge, none, scale=4, key=key(0))


@pytest.mark.parametrize("scale", [0, -4, MAX_SCALE + 1, 2.0, True, "4"])
def test_scales_that_are_refused(scale):
    with pytest.raises(OptionError, match="scale"):
        degrade(photo(40, 40), load_degradation("none"), scale=scale, key=key(0))


@pytest.mark.parametrize("wrong", [b"", bytes(31), bytes(33), "k" * 32, 7, bytearray(32)])
def test_keys_that_are_refused(wrong):
    with pytest.raises(OptionError, match="expected 32 bytes"):
        degrade(photo(40, 40), load_degradation("none"), scale=4, key=wrong)


def test_views_are_read_as_they_look():
    image = photo(96, 96)[::2, ::-1]
    mild = load_degradation("mild")
    expected = degrade(np.ascontiguousarray(image), mild, scale=4, key=key(2)).pixels
    assert np.array_equal(degrade(image, mild, scale=4, key=key(2)).pixels, expected)
