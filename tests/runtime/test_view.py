"""An image by our rules and by the original's: sizes, levels, windows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lqhq.runtime.bundle import open_bundle, read_manifest
from lqhq.runtime.colour import fix_colour
from lqhq.runtime.errors import OptionError
from lqhq.runtime.geometry import Size
from lqhq.runtime.manifest import Crop, Manifest, Pad, Quantize, TileHints
from lqhq.runtime.original import original_image
from lqhq.runtime.restorer import Restorer
from lqhq.runtime.view import view_of

Build = Callable[..., Path]


@pytest.fixture
def manifest(latent_bundle: Build) -> Manifest:
    """Factor 8, scale 4, small below 8 pixels."""
    return read_manifest(latent_bundle("view", factor=8, scale=4))


def photo(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng([7, height, width]).integers(0, 256, (height, width, channels), np.uint8)


def test_our_rules_enlarge_what_is_small_and_give_back_what_was_promised(manifest: Manifest) -> None:
    view = view_of(manifest, Size(5, 8), "default")
    assert (view.given, view.size, view.original, view.window) == (Size(5, 8), Size(8, 13), None, "ramp")
    assert view.manifest is manifest
    assert view.prepared(photo(5, 8)).shape == (8, 13, 3)
    assert view.finished(photo(32, 52)).shape == (20, 32, 3)
    assert view.held_bytes(3, 2) == 8 * 13 * 3 * 2


def test_our_rules_leave_the_others_as_they_are(manifest: Manifest) -> None:
    view, image, result = view_of(manifest, Size(8, 9), "default"), photo(8, 9), photo(32, 36)
    assert view.size == view.given
    assert view.prepared(image) is image
    assert view.finished(result) is result
    assert view.held_bytes(3, 1) == 0


def test_a_bundle_without_the_rule_takes_any_size(tiny_bundle: Build) -> None:
    view, image = view_of(read_manifest(tiny_bundle()), Size(1, 1), "default"), photo(1, 1)
    assert view.size == Size(1, 1)
    assert view.prepared(image) is image


@pytest.mark.parametrize(
    ("given", "size"),
    [((20, 25), (80, 96)), ((5, 9), (32, 56)), ((8, 8), (32, 32)), ((49, 21), (192, 80)), ((7, 100), (32, 456))],
)
def test_the_originals_rules_enlarge_cut_nothing_and_keep_the_size(manifest: Manifest, given: Any, size: Any) -> None:
    view = view_of(manifest, Size(*given), "original")
    assert (view.size, view.window) == (Size(*size), "gaussian")
    prepared = view.prepared(photo(*given))
    assert prepared.shape[:2] == size
    assert view.finished(prepared) is prepared
    assert view.held_bytes(3, 1) == prepared.nbytes


def test_what_is_left_for_the_runtime_is_to_truncate(manifest: Manifest) -> None:
    view = view_of(manifest, Size(20, 25), "original")
    assert view.manifest.scale == 1
    assert view.manifest.original is None
    assert view.manifest.small is None
    assert view.manifest.prepare == (Pad(mode="edge", multiple=8, smallest=8),)
    assert view.manifest.finish == (Crop(), manifest.colour, Quantize(mode="truncate"))
    assert view.manifest.tiles.smallest == 8  # the tiles' own smallest side would ask for padding
    plain = msgspec.structs.replace(manifest, finish=(Crop(), Quantize(mode="round")))
    assert view_of(plain, Size(20, 25), "original").manifest.finish == (Crop(), Quantize(mode="truncate"))


@pytest.mark.parametrize("size", [(1, 500), (500, 1)])
def test_an_image_that_leaves_no_pixel_is_refused(manifest: Manifest, size: Any) -> None:
    """Planted: no such image is refused by our rules, nor where it is enlarged first."""
    bare = msgspec.structs.replace(manifest.original, small=1)
    with pytest.raises(OptionError, match=r"original rules: .*Use the default rules, which pad instead"):
        view_of(msgspec.structs.replace(manifest, original=bare), Size(*size), "original")
    view_of(manifest, Size(*size), "original")
    view_of(manifest, Size(*size), "default")


# Through the Restorer


def by_hand(restorer: Restorer, image: np.ndarray, rules: Any) -> np.ndarray:
    """The original's preparation, then the bundle as a bare network in floats: the result in 0 to 255, not rounded."""
    prepared = original_image(image, rules).astype(np.float32) / 255
    manifest = msgspec.structs.replace(
        restorer.bundle.manifest,
        scale=1,
        prepare=(Pad(mode="edge", multiple=8, smallest=8),),
        finish=(Crop(), Quantize(mode="round")),
        tiles=TileHints(multiple=8, smallest=8, preferred=8 * 64, overlap=0, blend="each"),
        original=None,
    )
    with Restorer.open(type(restorer.bundle)(restorer.bundle.folder, manifest), threads=1) as bare:
        return bare.restore(prepared) * 255


@pytest.mark.parametrize("size", [(20, 25), (5, 9), (16, 12)])
def test_levels_are_truncated_and_sizes_the_originals(latent_bundle: Build, size: tuple[int, int]) -> None:
    image = photo(*size)
    with Restorer.open(open_bundle(latent_bundle(factor=8, scale=4), verified=None), threads=1) as restorer:
        rules = restorer.bundle.manifest.original
        assert rules is not None
        floats = by_hand(restorer, image, rules)
        found = restorer.restore(image, rules="original", color_fix="none")
        assert found.shape == floats.shape
        near = np.abs(floats - np.rint(floats)) < 1e-3  # whose level rounding decides
        assert np.array_equal(found[~near], np.floor(floats)[~near].astype(np.uint8))
        assert np.mean(found != np.rint(floats)) > 0.3  # the planted fault: rounded
        prepared = original_image(image, rules) / np.float32(255)
        fixed = fix_colour("adain", found, lambda box: prepared[box.rows, box.columns], mode="truncate")
        assert np.array_equal(restorer.restore(image, rules="original"), fixed)
        ours = restorer.restore(image)
        assert ours.shape == (4 * size[0], 4 * size[1], 3)


def test_the_originals_tiles_hardly_differ_from_the_whole(latent_bundle: Build) -> None:
    """The Gaussian's weight at a tile's edge, where zero padding shows, is 4e-6 of its peak."""
    image = photo(30, 45)
    with Restorer.open(open_bundle(latent_bundle(factor=2, scale=4), verified=None), threads=1) as restorer:
        whole = restorer.restore(image, rules="original", tile=512, color_fix="none")
        tiled = restorer.restore(image, rules="original", tile=32, overlap=8, color_fix="none")
        plan = restorer.plan(image, rules="original", tile=32, overlap=8).plan
    assert (plan.tile, len(plan)) == (Size(16, 16), 5 * 8)
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    assert np.mean(whole != tiled) < 0.02


def test_alpha_and_grey_by_the_originals_rules(latent_bundle: Build) -> None:
    with Restorer.open(open_bundle(latent_bundle(factor=8, scale=4), verified=None), threads=1) as restorer:
        for channels in (1, 2, 4):
            assert restorer.restore(photo(20, 25, channels), rules="original").shape == (80, 96, channels)
        for wrong in (photo(20, 25).astype(np.uint16), photo(20, 25).astype(np.float32) / 255):
            with pytest.raises(OptionError, match=r"8 bits only.*give an 8-bit image"):
                restorer.restore(wrong, rules="original")
