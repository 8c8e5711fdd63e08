"""Which tiles and forms are taken: by area, by memory, as asked, as the original, as engines were built."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lqhq.runtime import latent_plan as subject
from lqhq.runtime.bundle import open_bundle, read_manifest
from lqhq.runtime.engine_spec import Profile, Range
from lqhq.runtime.errors import LimitError, OptionError
from lqhq.runtime.geometry import Size
from lqhq.runtime.latent_plan import LatentRequest, choose_latents
from lqhq.runtime.manifest import Manifest, Memory, TileHints
from lqhq.runtime.profiles import parse_profile
from lqhq.runtime.restorer import Restorer
from lqhq.runtime.segment_plan import plan_bytes, strip_arrays

Build = Callable[..., Path]
MB = 1_000_000
NONE = 1 << 60  # a budget that holds everything
HINTS = {"tiles": TileHints(multiple=8, smallest=8, preferred=768, overlap=256, blend="each")}  # 96 and 32 latents


@pytest.fixture
def manifest(latent_bundle: Build) -> Manifest:
    """Factor 8, tiles of 96 latents with an overlap of 32."""
    return read_manifest(latent_bundle(factor=8, scale=4, **HINTS))


def request(manifest: Manifest, height: int, width: int, **fields: Any) -> LatentRequest:
    """`height` and `width` in latents."""
    assert manifest.latent is not None
    usual: dict[str, Any] = {
        "manifest": manifest,
        "canvas": Size(height, width).scaled(manifest.latent.factor),
        "tile": "auto",
        "overlap": None,
        "original": False,
        "depth": 0,
        "held_bytes": 0,
        "budget_bytes": NONE,
        "precision": "fp32",
        "segmented": frozenset({"encode", "decode"}),
    }
    return LatentRequest(**usual | fields)


def tiles(found: Any) -> tuple[Size, int, int]:
    return found.plan.tile, len(found.plan), found.plan.overlap


@pytest.mark.parametrize("size", [(96, 96), (64, 144), (20, 460), (1, 9216), (3, 5)])
def test_what_has_no_more_than_a_tiles_area_is_not_tiled(manifest: Manifest, size: tuple[int, int]) -> None:
    found = choose_latents(request(manifest, *size))
    assert tiles(found) == (Size(*size), 1, 0)
    assert found.reason == "the whole image: no more than a tile's area"


def test_a_shape_that_the_engine_does_not_take_is_tiled_whatever_its_area(manifest: Manifest) -> None:
    """Planted: without the engine's shapes the whole image is one tile."""
    sides, one = Range(1, 96, 96), Range(1, 1, 4)
    profiles = {"denoise": (Profile(batch=one, height=sides, width=sides),)}
    found = choose_latents(request(manifest, 48, 144, profiles=profiles))
    assert len(found.plan) > 1
    assert max(found.plan.tile) <= 96
    assert len(choose_latents(request(manifest, 48, 144)).plan) == 1


@pytest.mark.parametrize("size", [(97, 97), (20, 600), (600, 20), (33, 300), (1, 9217), (128, 4000)])
def test_what_has_more_is_tiled_without_gaps_at_any_shape(manifest: Manifest, size: tuple[int, int]) -> None:
    plan = choose_latents(request(manifest, *size)).plan
    assert max(plan.tile) <= 96
    covered = np.zeros(size, int)
    for index in range(len(plan)):
        box = plan.box(index)
        covered[box.rows, box.columns] += 1
    assert covered.min() >= 1
    for starts, side in zip((plan.tops, plan.lefts), plan.tile, strict=True):
        assert all(later - one <= side - 32 for one, later in itertools.pairwise(starts))


def test_the_area_rule_follows_the_tile_that_is_asked_for(manifest: Manifest) -> None:
    assert tiles(choose_latents(request(manifest, 32, 72, tile=384)))[1] == 1
    found = choose_latents(request(manifest, 32, 73, tile=384))
    assert (found.plan.tile.width <= 48, len(found.plan) > 1, found.reason) == (True, True, "as asked")
    assert found.plan.overlap == 24  # half of the tile: the bundle's 32 would be more


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tile": 100}, "tile: found 100; expected a multiple of 8 pixels, one latent. Use 96"),
        ({"tile": 3}, "tile: found 3; expected a multiple of 8 pixels, one latent. Use 8"),
        ({"tile": 0}, "tile: found 0; expected at least 64. Use a tile of 64 or more"),
        ({"tile": -64}, "tile: found -64; expected a multiple of 8 pixels, one latent. Use 8"),
        ({"tile": 56}, "tile: found 56; expected at least 64"),
        ({"tile": "large"}, "tile: found 'large'; expected a number of pixels, or 'auto'"),
        ({"overlap": 100}, "overlap: found 100; expected a multiple of 8 pixels"),
        ({"overlap": -8}, "overlap: found -8"),
        ({"overlap": -8, "tile": 1 << 16}, "overlap: found -8"),
        ({"tile": 128, "overlap": 72}, "overlap: found 72 with tile 128; expected at most half of the tile, 64"),
    ],
)
def test_tiles_that_cannot_be_are_refused_in_pixels(manifest: Manifest, fields: dict[str, Any], message: str) -> None:
    hints = msgspec.structs.replace(manifest.tiles, smallest=64)
    pad = msgspec.structs.replace(manifest.prepare[-1], smallest=64)  # type: ignore[type-var]
    strict = msgspec.structs.replace(manifest, tiles=hints, prepare=(*manifest.prepare[:-1], pad))
    with pytest.raises(OptionError, match=message):
        choose_latents(request(strict, 100, 120, **fields))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(size=st.tuples(st.integers(1, 400), st.integers(1, 400)), tile=st.integers(1, 120), overlap=st.integers(0, 60))
def test_any_tile_covers_any_canvas_or_is_refused(size: tuple[int, int], tile: int, overlap: int) -> None:
    asked = request(MANIFESTS[0], *size, tile=8 * tile, overlap=8 * overlap)
    if 2 * overlap > tile and size[0] * size[1] > tile * tile:
        with pytest.raises(OptionError):
            choose_latents(asked)
        return
    plan = choose_latents(asked).plan
    ends = [
        (starts[-1] + side, length)
        for starts, side, length in zip((plan.tops, plan.lefts), plan.tile, size, strict=True)
    ]
    assert all(end == length for end, length in ends)
    assert plan.overlap == (0 if len(plan) == 1 and size[0] * size[1] <= tile * tile else overlap)


MANIFESTS: list[Manifest] = []


@pytest.fixture(autouse=True)
def _manifests(manifest: Manifest) -> None:
    """For the property above, whose cases cannot ask for fixtures."""
    MANIFESTS[:] = [manifest]


# The original's own tiles


@pytest.mark.parametrize(
    ("size", "options", "tile", "tops", "lefts"),
    [
        ((128, 128), {}, 96, (0, 32), (0, 32)),
        ((256, 97), {}, 96, (0, 64, 128, 160), (0, 1)),
        ((96, 96), {}, 96, (0,), (0,)),
        ((12, 36), {"tile": 128, "overlap": 32}, 12, (0,), (0, 8, 16, 24)),  # the golden: tile 16, cut to 12
        ((22, 29), {"tile": 128, "overlap": 32}, 16, (0, 6), (0, 12, 13)),
        ((40, 600), {}, 40, (0,), None),  # neighbours share 32 of 40: more than half
    ],
)
def test_the_originals_tiles_are_squares(
    manifest: Manifest, size: Any, options: dict[str, int], tile: int, tops: Any, lefts: Any
) -> None:
    found = choose_latents(request(manifest, *size, original=True, **options))
    whole = size[0] * size[1] <= tile * tile
    assert found.plan.tile == (Size(*size) if whole else Size(tile, tile))
    assert found.plan.tops == tops
    assert found.plan.lefts == lefts or lefts is None
    assert found.reason == "the original's rule"


@pytest.mark.parametrize("size", [(20, 600), (600, 32), (32, 289)])
def test_where_the_original_never_ends_is_refused_there_alone(manifest: Manifest, size: tuple[int, int]) -> None:
    with pytest.raises(OptionError, match=r"original rules: .*runs for ever here\. Use the default rules"):
        choose_latents(request(manifest, *size, original=True))
    assert len(choose_latents(request(manifest, *size)).plan) > 1
    assert len(choose_latents(request(manifest, *size, original=True, overlap=128)).plan) > 1


# Memory


def budgets(manifest: Manifest, height: int, width: int, **fields: Any) -> list[Any]:
    """What is chosen as the budget shrinks from more than enough to what is refused, each choice once."""
    found = [choose_latents(request(manifest, height, width, **fields))]
    while True:
        try:
            found.append(
                choose_latents(request(manifest, height, width, budget_bytes=found[-1].peak_bytes - 1, **fields))
            )
        except LimitError:
            return found


def real(manifest: Manifest, **memory: Memory) -> Manifest:
    """With engines of about a real model's memory."""
    usual = {
        "encode": Memory(fixed=300 * MB, per_pixel=100e3),
        "denoise": Memory(fixed=3500 * MB, per_pixel=30e3, per_pair=10.0),
        "decode": Memory(fixed=400 * MB, per_pixel=300e3),
    }
    graphs = {
        role: {"fp32": msgspec.structs.replace(variants["fp32"], memory=(usual | memory)[role])}
        for role, variants in manifest.graphs.items()
    }
    return msgspec.structs.replace(manifest, graphs=graphs)


def test_forms_give_way_before_tiles_do(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once; one engine at a time; in strips; on disk; and only then smaller tiles."""
    monkeypatch.setattr(subject, "LEAST_STRIP", 4 << 20)
    light = Memory(fixed=20 * MB, per_pixel=0.0)
    found = budgets(real(manifest, denoise=Memory(fixed=30 * MB, per_pixel=1e3), encode=light), 250, 250)
    seen = [(len(one.plan), one.alone, one.encode, one.decode) for one in found]
    count = seen[0][0]
    assert [key for key, _ in itertools.groupby(one for one in seen if one[0] == count)] == [
        (count, False, "whole", "whole"),
        (count, True, "whole", "whole"),
        (count, True, "whole", "segments"),
        (count, True, "scratch", "segments"),
        (count, True, "scratch", "scratch"),
    ]
    fewer = [one for one in seen if one[0] != count]
    assert fewer
    assert {one[1:] for one in fewer} == {(True, "scratch", "scratch")}
    assert all(one[0] >= other[0] for one, other in zip(seen[1:], seen, strict=False))
    assert all(one.peak_bytes > other.peak_bytes for one, other in itertools.pairwise(found))
    assert [one.scratch_bytes > 0 for one in found] == ["scratch" in (one.encode, one.decode) for one in found]
    for one in found:
        assert set(one.steps) == {
            role for role, form in (("encode", one.encode), ("decode", one.decode)) if form != "whole"
        }


def test_tiles_shrink_where_the_denoiser_is_what_is_large(manifest: Manifest) -> None:
    heavy = real(manifest, denoise=Memory(fixed=20 * MB, per_pixel=0.0, per_pair=50.0))
    sides = [max(one.plan.tile) for one in budgets(heavy, 130, 130)]
    assert sides == sorted(sides, reverse=True)
    assert sides[0] > 80
    assert sides[-1] == 64
    last = budgets(heavy, 130, 130)[-1]
    assert (last.reason, last.plan.overlap) == ("all that memory allows", 32)


def test_a_tile_that_was_asked_for_does_not_shrink(manifest: Manifest) -> None:
    heavy = real(manifest, denoise=Memory(fixed=20 * MB, per_pixel=0.0, per_pair=50.0))
    found = budgets(heavy, 130, 130, tile=768)
    assert len({one.plan for one in found}) == 1
    with pytest.raises(LimitError, match="memory: found a budget of 1 MB"):
        choose_latents(request(heavy, 130, 130, tile=768, budget_bytes=MB))


@pytest.mark.parametrize("segmented", [frozenset(), frozenset({"decode"}), frozenset({"encode", "decode"})])
def test_the_limit_says_what_is_needed_and_that_is_enough(manifest: Manifest, segmented: frozenset[str]) -> None:
    asked = request(real(manifest), 250, 250, segmented=segmented, budget_bytes=MB)
    with pytest.raises(LimitError, match=r"memory: found a budget of 1 MB; expected at least") as error:
        choose_latents(asked)
    told = int(error.value.mend.split("--memory ")[1].split("M")[0])
    found = choose_latents(replace(asked, budget_bytes=told * MB))
    with pytest.raises(LimitError):
        choose_latents(replace(asked, budget_bytes=(told - 1) * MB))
    assert found.peak_bytes <= told * MB
    for role in ("encode", "decode"):
        assert (getattr(found, role) == "whole") >= (role not in segmented)


@pytest.mark.usefixtures("latent_prompt")  # importing it takes its time, in the setup
def test_image_history_and_other_engines_count(manifest: Manifest, latent_bundle: Build) -> None:
    plain = choose_latents(request(manifest, 40, 50)).peak_bytes
    assert choose_latents(request(manifest, 40, 50, held_bytes=12345)).peak_bytes == plain + 12345
    state = 4 * 4 * 40 * 50
    assert choose_latents(request(manifest, 40, 50, depth=2)).peak_bytes == plain + 4 * state
    words = read_manifest(latent_bundle("words", factor=8, scale=4, worded=True, tagged=True, **HINTS))
    large = Memory(fixed=900 * MB, per_pixel=0.0)
    worded = real(words, text=large, tag=large)
    found = budgets(worded, 40, 50)
    bare = budgets(real(manifest), 40, 50)
    # All at once, the others but one process are on top; one at a time, the largest alone counts.
    assert found[0].peak_bytes == bare[0].peak_bytes + 2 * (900 - 300) * MB
    assert found[1].peak_bytes == bare[1].peak_bytes


def test_what_another_image_shares_is_told_apart(manifest: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines are shared; the image, its latents and its canvases are not. Planted: all but the engines is counted."""
    monkeypatch.setattr(subject, "LEAST_STRIP", 4 << 20)
    light = Memory(fixed=20 * MB, per_pixel=0.0)
    denoise = Memory(fixed=30 * MB, per_pixel=1e3)
    found = budgets(real(manifest, denoise=denoise, encode=light), 250, 250, held_bytes=5 * MB)
    pixels = 250 * 250
    whole, held = 4 * 3 * pixels * 64, 5 * MB + 4 * 4 * pixels * 4
    largest = found[0].plan.tile.pixels
    engines = int(400 * MB + 300e3 * pixels) + int(30 * MB + 1e3 * largest) + 20 * MB - 2 * 20 * MB
    assert found[0].engine_bytes == engines
    assert found[0].peak_bytes - found[0].engine_bytes == held + 2 * whole
    for choice in found[1:]:
        own = [whole for form in (choice.encode, choice.decode) if form == "whole"]
        own += [int(1.25 * plan_bytes(steps).memory(on_disk=form == "scratch"))
                for role, steps in choice.steps.items() for form in [getattr(choice, role)]]  # fmt: skip
        assert choice.peak_bytes - choice.engine_bytes == held + max(own)
        assert 0 <= choice.engine_bytes <= engines


def test_a_further_tile_or_strip_takes_what_its_arrays_take(manifest: Manifest) -> None:
    tiled = choose_latents(request(manifest, 130, 130))
    assert tiled.tile_bytes == 4 * 4 * 4 * tiled.plan.tile.pixels
    strips = choose_latents(request(manifest, 130, 130, profiles=built(decode="8x8")))
    assert strips.tile_bytes == max(strip_arrays(step) for step in strips.steps["decode"]) > tiled.tile_bytes


def test_strips_follow_the_budget_within_bounds(manifest: Manifest) -> None:
    light = Memory(fixed=30 * MB, per_pixel=1e3)
    asked = request(real(manifest, denoise=light, encode=light), 250, 250, profiles=built(decode="8x8"))

    def strips(megabytes: int) -> int:
        found = choose_latents(replace(asked, budget_bytes=megabytes * MB))
        return sum(step.count for step in found.steps["decode"])

    assert strips(170) > strips(250) > strips(500) == strips(50_000)


@pytest.mark.parametrize("light", [0.0, 1e3])
def test_the_limit_is_enough_where_strips_are_most_of_it(manifest: Manifest, light: float) -> None:
    """Strips that follow a larger budget must not outgrow it: what is told would not do, then."""
    least = Memory(fixed=300 * MB, per_pixel=light)
    asked = request(real(manifest, denoise=least, encode=least), 250, 250, profiles=built(decode="8x8"))
    with pytest.raises(LimitError) as error:
        choose_latents(replace(asked, budget_bytes=MB))
    told = int(error.value.mend.split("--memory ")[1].split("M")[0])
    assert choose_latents(replace(asked, budget_bytes=told * MB)).peak_bytes <= told * MB


@pytest.mark.parametrize("size", [(40, 50), (250, 250), (20, 1200)])
@pytest.mark.parametrize(
    "denoise", [Memory(fixed=30 * MB, per_pixel=1e3), Memory(fixed=20 * MB, per_pixel=0.0, per_pair=50.0)]
)
def test_what_fits_a_budget_fits_every_larger_one(manifest: Manifest, size: tuple[int, int], denoise: Memory) -> None:
    network = real(manifest, denoise=denoise)
    with pytest.raises(LimitError) as error:
        choose_latents(request(network, *size, budget_bytes=MB))
    budget = int(error.value.mend.split("--memory ")[1].split("M")[0]) * MB
    for _ in range(40):
        assert choose_latents(request(network, *size, budget_bytes=budget)).peak_bytes <= budget
        budget = budget * 11 // 10


def test_it_is_described_in_pixels(manifest: Manifest) -> None:
    found = choose_latents(request(manifest, 128, 128))
    assert found.describe() == (
        "tile 640x640, 4 tile(s), overlap 256, 1.56x the pixels, encode whole, decode whole, "
        f"about {found.peak_bytes / 1e6:.0f} MB (the tile that the bundle prefers)"
    )
    whole = replace(choose_latents(request(manifest, 8, 8)), alone=True, decode="scratch", scratch_bytes=5 * MB)
    assert whole.describe() == (
        "tile 64x64, 1 tile(s), encode whole, decode in strips, canvases on disk, one engine at a time, "
        f"about {whole.peak_bytes / 1e6:.0f} MB and 5 MB of disk (the whole image: no more than a tile's area)"
    )


# Engines that were built for shapes


def built(**profiles: str) -> Mapping[str, Sequence[Profile]]:
    return {role: tuple(map(parse_profile, text.split())) for role, text in profiles.items()}


def test_tiles_keep_the_side_that_the_engine_was_built_for(manifest: Manifest) -> None:
    free = choose_latents(request(manifest, 128, 128))
    fixed = choose_latents(request(manifest, 128, 128, profiles=built(denoise="96x96")))
    assert (free.plan.tile, fixed.plan.tile) == (Size(80, 80), Size(96, 96))
    ranged = choose_latents(request(manifest, 128, 128, profiles=built(denoise="96x96 8-96x8-96")))
    assert ranged.plan.tile == Size(80, 80)


def test_a_tile_that_no_engine_takes_is_refused_with_what_to_build(manifest: Manifest) -> None:
    with pytest.raises(OptionError, match=r"tile of denoise: found 64x64 latents; expected one of 96x96@1.*512x512"):
        choose_latents(request(manifest, 128, 128, tile=512, profiles=built(denoise="96x96")))


def test_a_stage_that_does_not_fit_its_engine_goes_in_segments(manifest: Manifest) -> None:
    profiles = built(encode="8-96x8-96", decode="8-200x8-200")
    found = choose_latents(request(manifest, 128, 128, profiles=profiles))
    assert (found.encode, found.decode, found.alone) == ("segments", "whole", True)
    with pytest.raises(OptionError, match=r"tile of encode: found 128x128 latents; .*--profile 1024x1024"):
        choose_latents(request(manifest, 128, 128, profiles=profiles, segmented=frozenset({"decode"})))


def test_the_restorer_asks_for_the_padded_canvas(latent_bundle: Build) -> None:
    bundle = open_bundle(latent_bundle("again", factor=8, **HINTS), verified=None)
    with Restorer.open(bundle, threads=1) as restorer:
        plan = restorer.plan(np.zeros((50, 61, 3), np.uint8)).plan
        assert plan.canvas == Size(13, 16)
        with pytest.raises(LimitError, match="--memory"):
            restorer.plan(np.zeros((50, 61, 3), np.uint8), memory=1000)
        with pytest.raises(OptionError, match="a multiple of 8 pixels"):
            restorer.plan(np.zeros((50, 61, 3), np.uint8), tile=100)
        assert restorer.plan(np.zeros((500, 610, 3), np.uint8), tile=np.int64(256)).plan.tile.height <= 32
