"""The Restorer on the tiny bundle: kinds of images, options, seams, determinism."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lqhq.runtime.errors import CancelledError, ImageError, LimitError, OptionError
from lqhq.runtime.restorer import Restorer
from lqhq.runtime.schedule import Row, Schedule, Start


@pytest.fixture
def restorer(tiny_bundle: Callable[..., Path]) -> Iterator[Restorer]:
    with Restorer.open(tiny_bundle(scale=4), threads=1) as opened:
        yield opened


def picture(height: int = 13, width: int = 17, channels: int = 3, dtype: str = "uint8") -> np.ndarray:
    smooth = np.add.outer(np.arange(height) * 3.0, np.arange(width) * 2.0)[:, :, None] + np.arange(channels) * 20
    values = (smooth + np.random.default_rng(0).random((height, width, channels)) * 40) / 255
    return (values * {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_result_is_like_the_image(restorer, dtype, channels):
    result = restorer.restore(picture(channels=channels, dtype=dtype))
    assert (result.shape, result.dtype) == ((52, 68, channels), np.dtype(dtype))


def test_depths_agree(restorer):
    eight, sixteen = picture(), picture().astype(np.uint16) * 257
    low, high = restorer.restore(eight).astype(float), restorer.restore(sixteen) / 257
    real = restorer.restore(eight.astype(np.float32) / 255) * 255
    assert np.abs(low - high).max() <= 0.51
    assert np.abs(high - real).max() <= 0.01


def test_grey_equals_a_grey_rgb(restorer):
    grey = picture(channels=1)
    rgb = restorer.restore(np.repeat(grey, 3, axis=2))
    assert np.abs(restorer.restore(grey).astype(int) - rgb[..., :1]).max() <= 1


def test_alpha_is_restored_apart(restorer):
    image = picture(channels=4)
    image[..., 3] = 255
    image[:6, :, 3] = 0
    hidden = image.copy()
    hidden[:6, :, :3] = 0  # what nobody sees must not leak into what is seen
    one, other = restorer.restore(image), restorer.restore(hidden)
    assert np.array_equal(one, other)
    opaque = restorer.restore(image[..., 3:])
    assert np.array_equal(one[..., 3:], opaque)


def test_a_constant_alpha_stays_constant(restorer):
    image = picture(channels=4)
    image[..., 3] = 77
    result = restorer.restore(image)
    assert np.unique(result[..., 3]).tolist() == [77]
    assert np.array_equal(result[..., :3], restorer.restore(image[..., :3]))


@pytest.mark.parametrize("schedule", ["fast", "three", "noisy"])
@pytest.mark.parametrize("blend", ["final", "each"])
def test_there_is_no_seam(restorer, schedule, blend):
    """Tiled against untiled by distance to the nearest tile edge: the error does not grow towards it."""
    image = picture(40, 40)
    whole = restorer.restore(image, schedule=schedule, seed=5, tile="auto").astype(int)
    tiled = restorer.restore(image, schedule=schedule, seed=5, tile=48, overlap=16, blend=blend).astype(int)
    error = np.abs(whole - tiled)
    edges = [start + side for start in restorer.plan(image, tile=48, overlap=16).plan.lefts for side in (0, 48)]
    distance = np.abs(np.arange(160)[:, None] - np.array(edges)).min(axis=1)
    near, far = error[:, distance < 8].mean(), error[:, distance >= 8].mean()
    assert error.max() <= 1
    assert near <= far + 0.01


def test_too_small_an_overlap_shows_in_the_seam_figure(restorer):
    """The planted fault of the seam test: without overlap the zero padding of every tile shows."""
    image = picture(40, 40)
    whole = restorer.restore(image, schedule="three").astype(int)
    tiled = restorer.restore(image, schedule="three", tile=48, overlap=0).astype(int)
    assert np.abs(whole - tiled).max() > 5


def test_equal_calls_give_equal_bytes_and_seeds_matter(restorer):
    image = picture()
    first = restorer.restore(image, schedule="noisy", seed=1)
    assert np.array_equal(first, restorer.restore(image, schedule="noisy", seed=1))
    assert not np.array_equal(first, restorer.restore(image, schedule="noisy", seed=2))


@pytest.mark.parametrize("options", [{"tile": 32, "overlap": 16}, {"tile": 48, "overlap": 16}, {"blend": "each"}])
def test_other_tiles_and_threads_stay_within_one_level(tiny_bundle, options):
    image = picture(40, 40)
    bundle = tiny_bundle(scale=4)
    with Restorer.open(bundle, threads=1) as one, Restorer.open(bundle, threads=2) as two:
        first = one.restore(image, schedule="noisy", seed=3).astype(int)
        assert np.abs(first - two.restore(image, schedule="noisy", seed=3, **options)).max() <= 1


def test_injected_noise_replaces_the_drawn(restorer):
    from lqhq.kernels.noise import normal

    image, box = picture(), {"channels": 3, "top": 0, "left": 0, "height": 52, "width": 68}
    start = normal(seed=9, stream="start", row=0, **box)
    step = np.stack([normal(seed=9, stream="step", row=row, **box) for row in range(3)])
    injected = restorer.restore(image, schedule="noisy", noise={"start": start, "step": step})
    assert np.array_equal(injected, restorer.restore(image, schedule="noisy", seed=9))


def test_a_schedule_of_ones_own_can_be_given(restorer):
    still = Schedule(start=Start(), rows=(Row(t=1.0, c_state=1.0, c=(0.0,)),))
    result = restorer.restore(np.full((9, 9, 3), 99, np.uint8), schedule=still)
    assert np.unique(result).tolist() == [99]


def test_colour_fix_gives_back_the_inputs_mean(restorer):
    image = picture(30, 30)
    dark = Schedule(start=Start(), rows=(Row(t=1.0, c_state=0.0, c=(0.5,)),))  # halves every value
    plain = restorer.restore(image, schedule=dark).mean(axis=(0, 1))
    fixed = restorer.restore(image, schedule=dark, color_fix="adain").mean(axis=(0, 1))
    mean = image.mean(axis=(0, 1))
    assert np.abs(fixed - mean).max() < 2
    assert np.abs(plain - mean).max() > 5


def test_progress_and_cancel(restorer):
    seen: list[tuple[int, int]] = []
    restorer.restore(picture(), schedule="three", progress=lambda *at: seen.append(at))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(CancelledError):
        restorer.restore(picture(), cancel=lambda: True)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4), np.uint8), "Add the channel axis"),
        (np.zeros((4, 0, 3), np.uint8), "no empty side"),
        (np.zeros((4, 4, 5), np.uint8), "C from 1 to 4"),
        (np.zeros((4, 4, 3), np.float64), "float64 array"),
        (np.full((4, 4, 3), np.nan, np.float32), r"values in \[0, 1\]"),
        (np.full((4, 4, 3), 255, np.float32), r"values in \[0, 1\]"),
        ([[1]], "found list"),
    ],
)
def test_what_is_no_image_is_refused(restorer, image, message):
    with pytest.raises(ImageError, match=message):
        restorer.restore(image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "best"}, "one of fast, noisy, three"),
        ({"tile": 30}, "a multiple of 4"),
        ({"tile": "big"}, "'auto'"),
        ({"blend": "soft"}, "'each' or 'final'"),
        ({"seed": -1}, "seed"),
        ({"prompt": "a cat"}, "takes no prompt"),
        ({"strength": 0.5}, "takes no strength"),
        ({"mask": np.zeros((13, 17, 1), np.uint8)}, "takes no mask"),
        ({"color_fix": "vivid"}, "adain or wavelet|wavelet or adain"),
    ],
)
def test_options_that_do_not_fit_are_refused(restorer, options, message):
    with pytest.raises(OptionError, match=message):
        restorer.restore(picture(), **options)


def test_a_budget_that_nothing_fits_is_refused_before_work(restorer):
    with pytest.raises(LimitError, match="--memory"):
        restorer.restore(picture(), memory=1000)


@pytest.mark.parametrize(("options", "message"), [({"precision": "fp16"}, "one of fp32"), ({"threads": 0}, "1 to 256"),
                                                  ({"engine": "magic"}, "one of onnx")])  # fmt: skip
def test_open_refuses_what_is_not_there(tiny_bundle, options, message):
    with pytest.raises(OptionError, match=message):
        Restorer.open(tiny_bundle(), **options)


def test_learned_noise_needs_a_graph_that_gives_it(restorer):
    learned = Schedule(start=Start(), rows=(Row(t=1.0, c_state=0.5, c=(0.5,), log_sigma=(0.0, 0.5)),))
    with pytest.raises(OptionError, match="gives no variance"):
        restorer.restore(picture(), schedule=learned)


def test_alpha_counts_in_the_estimate_and_in_the_progress(restorer):
    image = picture(40, 40, 4)
    assert restorer.plan(image).peak_bytes >= restorer.plan(image[..., :3]).peak_bytes + 60 * 40 * 40
    seen: list[tuple[int, int]] = []
    restorer.restore(image, progress=lambda *at: seen.append(at))
    assert seen == [(1, 2), (2, 2)]


def test_plan_checks_its_image(restorer):
    with pytest.raises(ImageError, match="channel axis"):
        restorer.plan(np.zeros((4, 4), np.uint8))


@pytest.mark.parametrize(
    "noise",
    [
        {"start": [1.0]},
        {"start": np.zeros((3, 52, 68))},
        {"start": np.full((3, 52, 68), np.nan, np.float32)},
    ],
)
def test_noise_must_be_finite_float32_arrays(restorer, noise):
    with pytest.raises(OptionError, match="finite float32"):
        restorer.restore(picture(), schedule="noisy", noise=noise)


def test_a_tile_may_be_a_numpy_integer(restorer):
    assert restorer.plan(picture(), tile=np.int64(32)).plan.tile.width == 32
    with pytest.raises(OptionError, match="whole number"):
        restorer.restore(picture(), seed=1.5)


class Limited:
    """A session of an engine that was built for tiles of at most `largest`."""

    largest, profiles = 32, ()

    def __init__(self, session) -> None:
        self._session = session

    def run(self, feed):
        assert max(feed["state"].shape[2:]) <= self.largest
        return self._session.run(feed)

    def close(self) -> None:
        self._session.close()


def test_tiles_stay_within_what_the_engine_takes(restorer):
    """Planted: without the ceiling the image is run whole, which the session does not take."""
    image = picture(30, 30)
    free = restorer.restore(image)
    assert max(restorer.plan(image).plan.tile) > 32
    restorer._sessions["denoise"] = Limited(restorer._sessions["denoise"])
    assert max(restorer.plan(image).plan.tile) <= 32
    assert np.abs(restorer.restore(image).astype(int) - free).max() <= 1
    with pytest.raises(OptionError, match="at most 32"):
        restorer.restore(image, tile=64)


def test_engines_are_opened_by_name_for_the_bundles_shapes(tiny_bundle, monkeypatch):
    from lqhq.runtime import bundle_sessions as module
    from lqhq.runtime.bundle import open_bundle
    from lqhq.runtime.engine_spec import Profile, Range
    from lqhq.runtime.profiles import default_profiles

    asked = []

    def opened(engine, graph, setup):
        asked.append((engine, graph.role, graph.precision, setup))
        raise OptionError("engine", found="a test", expected="nothing", mend="Stop.")

    monkeypatch.setattr(module, "open_session", opened)
    own = Profile(batch=Range(1, 1, 2), height=Range(8, 8, 16), width=Range(8, 8, 16))
    for options in ({}, {"engine": "tensorrt"}, {"engine": "tensorrt", "profiles": (own,), "device": "cuda:1"}):
        with pytest.raises(OptionError, match="a test"):
            Restorer.open(tiny_bundle(f"b{len(asked)}"), **options)
    assert [one[:3] for one in asked] == [(name, "denoise", "fp32") for name in ("onnx", "tensorrt", "tensorrt")]
    manifest = open_bundle(tiny_bundle("again")).manifest
    assert [one[3].profiles for one in asked] == [(), default_profiles(manifest, "denoise"), (own,)]
    assert [one[3].device for one in asked] == [None, None, "cuda:1"]
    with pytest.raises(OptionError, match="precision: found 'fp16'"):
        Restorer.open(tiny_bundle("half"), precision="fp16")
