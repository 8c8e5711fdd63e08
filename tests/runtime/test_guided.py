"""A guided restoration: the vector of the image from tiles, of each tile, and everything around them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lqhq.kernels.noise import normal
from lqhq.runtime.driver import drive
from lqhq.runtime.errors import EngineError, OptionError
from lqhq.runtime.restorer import Restorer

Build = Callable[..., Path]


def photo(height: int = 37, width: int = 50, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, 3), np.float32)


def blur(image: np.ndarray) -> np.ndarray:
    """`[C, H, W]`, zero padding."""
    padded = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    height, width = image.shape[1:]
    weights = np.outer([1, 2, 1], [1, 2, 1]) / 16
    return sum(weights[y, x] * padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3))


def canvas_of(image: np.ndarray, mode: str = "reflect") -> np.ndarray:
    """`[C, H, W]` padded to multiples of 4, as the tiny bundle asks."""
    pads = [(0, -side % 4) for side in image.shape[:2]]
    return np.pad(image, (*pads, (0, 0)), mode=mode).transpose(2, 0, 1).astype(np.float64)


def vector(canvas: np.ndarray, seed: int = 0) -> np.ndarray:
    drawn = normal(seed=seed, stream="prior", row=0, channels=1, top=0, left=0, height=1, width=len(canvas))[0, 0]
    return blur(canvas).mean(axis=(1, 2)) + 0.5 * drawn


def oracle(image: np.ndarray, growth: int, seed: int = 0) -> np.ndarray:
    canvas = canvas_of(image)
    small = blur(canvas) * vector(canvas, seed)[:, None, None]
    large = small.repeat(growth, 1).repeat(growth, 2).transpose(1, 2, 0)
    return np.clip(large[: growth * image.shape[0], : growth * image.shape[1]], 0, 1)


@pytest.mark.parametrize("growth", [1, 2, 4])
@pytest.mark.parametrize("tile", [16, 24, 64])
def test_tiles_share_the_vector_of_the_image(guided_bundle: Build, growth, tile):
    with Restorer.open(guided_bundle(growth=growth)) as restorer:
        result = restorer.restore(photo(), tile=tile)
    assert result == pytest.approx(oracle(photo(), growth), abs=2e-6)


def test_the_seed_and_injected_noise_make_the_vector(guided_bundle: Build):
    image = photo()
    with Restorer.open(guided_bundle()) as restorer:
        assert restorer.restore(image, seed=3) == pytest.approx(oracle(image, 1, seed=3), abs=2e-6)
        assert np.abs(restorer.restore(image, seed=3) - oracle(image, 1, seed=4)).max() > 1e-2
        given = normal(seed=9, stream="prior", row=0, channels=1, top=0, left=0, height=1, width=3)[0, 0]
        assert restorer.restore(image, noise={"prior": given}) == pytest.approx(oracle(image, 1, seed=9), abs=2e-6)
        with pytest.raises(OptionError, match="finite float32 arrays of these shapes"):
            restorer.restore(image, noise={"prior": given[:2]})


def test_a_vector_of_its_own_makes_each_tile_an_image(guided_bundle: Build):
    """Without overlap the tiles are images that were cut and joined."""
    image = photo(32, 48)
    with Restorer.open(guided_bundle()) as restorer:
        result = restorer.restore(image, prior="tile", tile=16, overlap=0)
        parts = [
            np.concatenate([oracle(image[y : y + 16, x : x + 16], 1) for x in range(0, 48, 16)], axis=1)
            for y in range(0, 32, 16)
        ]
        assert result == pytest.approx(np.concatenate(parts), abs=2e-6)
        whole = restorer.restore(image, prior="image", tile=16, overlap=0)
    assert np.abs(whole - result).max() > 1e-3


def test_any_order_of_completion_gives_the_same_bytes(guided_bundle: Build):
    """Sums are added in the order of tiles, whoever finishes first."""
    results = set()
    with Restorer.open(guided_bundle()) as restorer:
        for seed in range(4):
            jobs: list = []
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("lqhq.runtime.restorer.drive", lambda given, *_, jobs=jobs, **__: jobs.extend(given))
                with pytest.raises(ValueError, match="works are done"):
                    restorer.restore(photo(), tile=16)
            (job,), out, draw = jobs, [], random.Random(seed)
            while not job.finished:
                out += job.ready(draw.randint(1, 5))
                work = out.pop(draw.randrange(len(out)))
                job.done(work, restorer._sessions[work.call.role].run(work.feed()))
            results.add(job.result().tobytes())
    assert len(results) == 1


def test_jobs_share_batches_of_every_role(guided_bundle: Build):
    """Batches mix images; each keeps its own vector."""
    images = [photo(37, 50, 1), photo(20, 90, 2)]
    with Restorer.open(guided_bundle()) as restorer:
        jobs: list = []
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lqhq.runtime.restorer.drive", lambda given, *_, **__: jobs.extend(given))
            for image in images:
                with pytest.raises(ValueError, match="works are done"):
                    restorer.restore(image, tile=16)
        drive(jobs, restorer._sessions, batch=3)
    for job, image in zip(jobs, images, strict=True):
        assert job.result() == pytest.approx(oracle(image, 1), abs=2e-6)


@pytest.mark.parametrize("kind", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("tile", [16, 64])
def test_only_the_hole_changes(guided_bundle: Build, kind, tile):
    full = {"uint8": 255, "uint16": 65535, "float32": 1}[kind]
    unit = np.random.default_rng(0).integers(0, full + 1 if full > 1 else 2, (30, 41, 3)).astype(kind)
    mask = np.zeros((30, 41), np.uint8)
    mask[5:15, 20:41] = 200
    hole = mask > 0
    with Restorer.open(guided_bundle(masked=True)) as restorer:
        result = restorer.restore(unit, mask=mask, tile=tile)
    canvas = canvas_of(np.dstack([np.where(hole[:, :, None], 0, unit / full), hole]), "symmetric")
    filled = np.clip(blur(canvas[:3]) * vector(canvas)[:3, None, None], 0, 1).transpose(1, 2, 0)[:30, :41]
    assert np.array_equal(result[~hole], unit[~hole])
    difference = result[hole].astype(np.float64) - (filled * full if full == 1 else np.floor(filled * full))[hole]
    assert np.abs(difference).max() <= (2e-6 if full == 1 else 1)
    assert (difference > 1e-5).mean() < 0.01


@pytest.mark.parametrize("flat", [True, False])
def test_kept_pixels_stay_under_transparency_and_the_hole_is_not_looked_at(guided_bundle: Build, flat):
    draw = np.random.default_rng(0)
    image = draw.integers(0, 256, (30, 41, 4), np.uint8)
    image[..., 3] = 7 if flat else np.where(draw.random((30, 41)) < 0.3, 0, image[..., 3])
    hole = np.zeros((30, 41), bool)
    hole[5:15, 20:41] = True
    other = image.copy()
    other[hole, :3] = 255 - other[hole, :3]
    with Restorer.open(guided_bundle(masked=True)) as restorer:
        result = restorer.restore(image, mask=hole)
        assert np.array_equal(result[~hole], image[~hole])
        assert np.array_equal(restorer.restore(other, mask=hole), result)


@pytest.mark.parametrize("growth", [2, 4])
@pytest.mark.parametrize("fix", ["wavelet", "adain"])
def test_a_colour_fix_takes_the_image_at_the_results_size(guided_bundle: Build, growth, fix):
    """The mean colour of the input comes back, whatever the vector did to it."""
    image = (0.3 + 0.4 * photo(40, 44)).astype(np.float32)
    with Restorer.open(guided_bundle(growth=growth)) as restorer:
        result = restorer.restore(image, color_fix=fix)
        assert np.abs(restorer.restore(image).mean(axis=(0, 1)) - image.mean(axis=(0, 1))).max() > 0.06
    # The wavelet takes what is coarser than 31 pixels, which at these sizes leaves some of the mean behind.
    assert result.mean(axis=(0, 1)) == pytest.approx(image.mean(axis=(0, 1)), abs=0.03)


def test_a_colour_fix_would_change_what_inpainting_keeps(guided_bundle: Build):
    with Restorer.open(guided_bundle(masked=True)) as restorer, pytest.raises(OptionError, match="no color_fix"):
        restorer.restore(photo(), mask=np.ones((37, 50)), color_fix="adain")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "fast"}, "'guided' takes no schedule"),
        ({"blend": "each"}, "nothing to blend"),
        ({"prior": "row"}, "'image' or 'tile'"),
        ({"mask": np.zeros((37, 50))}, "takes no mask"),
    ],
)
def test_options_that_do_not_fit_are_refused(guided_bundle: Build, options, message):
    with Restorer.open(guided_bundle()) as restorer, pytest.raises(OptionError, match=message):
        restorer.restore(photo(), **options)


def test_a_prior_is_refused_where_there_is_none(tiny_bundle: Build):
    with Restorer.open(tiny_bundle()) as restorer, pytest.raises(OptionError, match="takes no prior"):
        restorer.restore(photo(), prior="image")


@pytest.mark.parametrize("role", ["reduce", "encode", "decode"])
def test_a_graph_that_gives_something_else_is_an_error(guided_bundle: Build, role):
    class Wrong:
        largest, profiles = None, ()

        def run(self, feed):
            return {"other": np.zeros((1, 3), np.float32)}

        def close(self): ...

    with Restorer.open(guided_bundle()) as restorer:
        restorer._sessions[role] = Wrong()
        with pytest.raises(EngineError, match=role):
            restorer.restore(photo())


@pytest.mark.parametrize("fault", ["mask", "halo"])
def test_a_wrong_reduction_is_seen(guided_bundle: Build, monkeypatch, fault):
    """Masks that count overlaps twice, or tiles without the pixels around their cores, change the vector."""
    import lqhq.runtime.guided as module

    right = module._reduce_feed
    change = {
        "mask": lambda source, box, core: right(source, box, box),
        "halo": lambda source, box, core: right(source, core, core),
    }[fault]
    with Restorer.open(guided_bundle()) as restorer:
        monkeypatch.setattr(module, "_reduce_feed", change)
        result = restorer.restore(photo(), tile=16)
    assert np.abs(result - oracle(photo(), 1)).max() > 1e-5


class OnDevice:
    """Keeps what it was told to keep as tensors, as an engine on a GPU does; counts what comes back to it."""

    largest, profiles = None, ()

    def __init__(self, session, keep) -> None:
        self._session, self.keep, self.tensors = session, keep, 0

    def run(self, feed):
        import torch

        self.tensors += sum(isinstance(array, torch.Tensor) for array in feed.values())
        fetch = self._session.run(feed)
        return {
            name: torch.from_numpy(np.array(array)) if name in self.keep else np.array(array)
            for name, array in fetch.items()
        }

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._session.close()


@pytest.mark.parametrize("batch", [1, 3])
def test_the_vector_stays_on_the_device_for_every_tile(guided_bundle: Build, monkeypatch, batch):
    from lqhq.runtime import bundle_sessions
    from lqhq.runtime import restorer as module

    opened: dict[str, OnDevice] = {}

    def on_device(engine, graph, setup):
        opened[graph.role] = OnDevice(real(engine, graph, setup), setup.keep)
        return opened[graph.role]

    real = bundle_sessions.open_session
    with Restorer.open(guided_bundle()) as restorer:
        wanted = restorer.restore(photo(), tile=16)
    monkeypatch.setattr(bundle_sessions, "open_session", on_device)
    monkeypatch.setattr(module, "drive", lambda *args, **options: drive(*args, **options | {"batch": batch}))
    with Restorer.open(guided_bundle("again")) as restorer:
        assert restorer.restore(photo(), tile=16) == pytest.approx(wanted, abs=2e-6)
    assert {role: set(one.keep) for role, one in opened.items()} == {
        "reduce": set(),
        "encode": {"cond"},
        "decode": set(),
    }
    assert opened["decode"].tensors > 1
    assert opened["reduce"].tensors == opened["encode"].tensors == 0
