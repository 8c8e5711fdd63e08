"""The choice of tiles within a budget."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lqhq.runtime import autotile
from lqhq.runtime.autotile import choose_tiles, default_budget
from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.engine_spec import Profile, Range
from lqhq.runtime.errors import LimitError, OptionError
from lqhq.runtime.geometry import Size
from lqhq.runtime.manifest import Manifest, Memory, Reduction, TileHints


def with_memory(manifest: Manifest, **memories: Memory) -> Manifest:
    """The manifest with other figures for some roles."""
    graphs = {
        role: {name: msgspec.structs.replace(graph, memory=memories.get(role, graph.memory))}
        for role, variants in manifest.graphs.items()
        for name, graph in variants.items()
    }
    return msgspec.structs.replace(manifest, graphs=graphs)


@pytest.fixture
def manifest(tiny_bundle) -> Manifest:
    hints = TileHints(multiple=4, smallest=8, preferred=64, overlap=8, blend="final", reach=9)
    plain = msgspec.structs.replace(open_bundle(tiny_bundle()).manifest, tiles=hints)
    return with_memory(plain, denoise=Memory(fixed=1_000_000, per_pixel=1000.0))


def choose(
    manifest,
    canvas,
    *,
    tile="auto",
    budget=10**9,
    overlap=None,
    blend="final",
    prior="image",
    depth=0,
    held=0,
    limits=None,
    profiles=None,
):
    return choose_tiles(
        manifest,
        canvas,
        tile=tile,
        overlap=overlap,
        blend=blend,
        prior=prior,
        depth=depth,
        held_bytes=held,
        budget_bytes=budget,
        limits=limits,
        profiles=profiles,
    )


def test_auto_takes_the_preferred_tile_and_fits_it(manifest):
    choice = choose(manifest, Size(200, 120))
    assert choice.plan.tile == Size(56, 64)  # four rows of tiles need only 56
    assert choice.reason == "the tile that the bundle prefers"
    assert "tile 64x56, 8 tile(s), overlap 8" in choice.describe()


def test_a_canvas_hardly_longer_than_the_preferred_tile_is_run_whole(manifest):
    assert len(choose(manifest, Size(80, 40)).plan) == 1
    assert len(choose(manifest, Size(84, 40)).plan) == 2


def test_where_tiles_change_the_result_the_whole_image_is_run_while_memory_allows(manifest):
    hints = msgspec.structs.replace(manifest.tiles, reach=None)
    global_ = msgspec.structs.replace(manifest, tiles=hints)
    assert choose(global_, Size(400, 400)).reason == "the whole image"
    small = choose(global_, Size(400, 400), budget=60_000_000)
    assert small.reason == "all that the memory allows"
    assert small.peak_bytes <= 60_000_000
    assert small.plan.tile.height > 64


def test_a_small_budget_takes_a_smaller_tile(manifest):
    choice = choose(manifest, Size(400, 400), budget=3_000_000)
    assert choice.plan.tile.height < 64
    assert choice.peak_bytes <= 3_000_000


def test_a_budget_too_small_for_anything_names_what_is_needed(manifest):
    with pytest.raises(LimitError, match=r"Give --memory (\d+)M or more") as caught:
        choose(manifest, Size(400, 400), budget=1_050_000)
    needed = int(caught.value.mend.split("--memory ")[1].split("M")[0]) * 1_000_000
    assert choose(manifest, Size(400, 400), budget=needed).plan.tile.height <= 24


def test_a_tile_too_large_for_the_budget_names_one_that_fits(manifest):
    with pytest.raises(LimitError, match=r"Use a tile of (\d+)") as caught:
        choose(manifest, Size(400, 400), tile=200, budget=8_000_000)
    fits = int(caught.value.mend.split("tile of ")[1].rstrip("."))
    assert choose(manifest, Size(400, 400), tile=fits, budget=8_000_000).plan.tile.height == fits


def test_a_tile_below_twice_the_overlap_keeps_what_it_can(manifest):
    assert choose(manifest, Size(100, 100), tile=12).plan.overlap == 4
    with pytest.raises(OptionError, match="at most half"):
        choose(manifest, Size(100, 100), tile=12, overlap=8)


def test_attention_costs_the_square(manifest):
    memory = Memory(fixed=1, per_pixel=1.0, per_pair=2.0)
    assert memory.peak(10) == 211
    square = with_memory(manifest, denoise=memory)
    linear = with_memory(manifest, denoise=Memory(fixed=1, per_pixel=1.0))
    size = Size(40, 40)
    assert choose(square, size).peak_bytes - choose(linear, size).peak_bytes == 2 * 1600**2


def test_a_tile_as_asked_is_not_changed(manifest):
    choice = choose(manifest, Size(200, 120), tile=64)
    assert (choice.plan.tile, choice.reason) == (Size(64, 64), "as asked")


def test_the_shared_state_of_blend_each_and_the_history_count(manifest):
    plain = choose(manifest, Size(200, 200)).peak_bytes
    assert choose(manifest, Size(200, 200), blend="each").peak_bytes >= plain + 3 * 4 * 200 * 200
    assert choose(manifest, Size(200, 200), depth=2).peak_bytes > plain
    assert choose(manifest, Size(200, 200), held=12345).peak_bytes == plain + 12345


@pytest.mark.parametrize(
    ("tile", "message"), [(4, "at least 8"), (18, "a multiple of 4"), ("large", "or 'auto'"), (24, None)]
)
def test_tiles_that_the_network_cannot_take_are_refused(manifest, tile, message):
    if message is None:
        assert choose(manifest, Size(100, 100), tile=tile).plan.tile == Size(24, 24)
    else:
        with pytest.raises(OptionError, match=message):
            choose(manifest, Size(100, 100), tile=tile)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(2, 250), st.integers(2, 250), st.integers(1_050_000, 30_000_000), st.sampled_from([0, 8, 28, 32]))
def test_auto_finds_a_plan_or_says_what_memory_it_needs(manifest, height, width, budget, overlap):
    """Fitting tiles to the canvas must never make them smaller than the overlap allows."""
    hints = TileHints(multiple=4, smallest=8, preferred=64, overlap=overlap, blend="final", reach=9)
    small = msgspec.structs.replace(manifest, tiles=hints)
    try:
        choice, mend = choose(small, Size(4 * height, 4 * width), budget=budget), ""
    except LimitError as error:
        choice, mend = None, error.mend
    assert "--memory" in mend if choice is None else choice.peak_bytes <= budget


def test_the_budget_without_asking_is_most_of_what_is_free(monkeypatch):
    monkeypatch.setattr(autotile, "available_memory", lambda: 1000)
    assert default_budget() == 800


def test_sessions_that_are_open_together_count_together(guided_bundle):
    """`reduce` keeps the memory of its own tile while `decode` runs."""
    manifest = open_bundle(guided_bundle(growth=4)).manifest
    size = Size(200, 200)
    plain = choose(manifest, size, tile=64)
    assert plain.reduction is not None
    assert (plain.plan.tile, plain.reduction.tile) == (Size(64, 64), Size(16, 16))
    heavy = {role: Memory(fixed=2 << 20, per_pixel=164.0) for role in ("reduce", "decode")}
    more = choose(with_memory(manifest, **heavy), size, tile=64).peak_bytes - plain.peak_bytes
    assert more == 2 * (1 << 20) + 100 * (64 * 64 + 16 * 16)
    own = choose(manifest, size, tile=64, prior="tile")
    assert own.reduction == own.plan
    assert own.peak_bytes - plain.peak_bytes == 64 * (64 * 64 - 16 * 16)


def test_the_process_counts_once(guided_bundle):
    """Each `fixed` holds a process of its own; the least, a graph of vectors, has little else."""
    manifest = open_bundle(guided_bundle()).manifest
    memories = {
        role: Memory(fixed=fixed, per_pixel=0.0) for role, fixed in (("reduce", 9), ("encode", 7), ("decode", 8))
    }
    changed, one = with_memory(manifest, **memories), Size(16, 16)
    assert (
        choose(changed, one).peak_bytes
        - choose(with_memory(changed, **dict.fromkeys(memories, Memory(fixed=7, per_pixel=0.0))), one).peak_bytes
        == 3
    )


def test_what_the_graphs_enlarge_counts(guided_bundle):
    """Bands and a tile's arrays are of the result's size."""
    size = Size(64, 64)
    small, large = (
        choose(open_bundle(guided_bundle(f"x{growth}", growth=growth)).manifest, size, tile=32).peak_bytes
        for growth in (1, 4)
    )
    bands, arrays = 2 * 3 * 4 * 32 * 64, 3 * 4 * 32 * 32 * 6
    assert large - small == (16 - 1) * (bands + arrays)


@pytest.mark.parametrize("budget", [2_500_000, 5_000_000, 11_000_000, 22_000_000])
def test_a_tile_that_is_named_as_fitting_fits(manifest, budget):
    size = Size(140, 180)
    with pytest.raises(LimitError, match="Use a tile") as refused:
        choose(manifest, size, tile=180, budget=budget)
    named = int(refused.value.mend.removeprefix("Use a tile of ").removesuffix("."))
    assert choose(manifest, size, tile=named, budget=budget).peak_bytes <= budget


def test_auto_gives_up_overlap_before_it_gives_up(manifest):
    hints = msgspec.structs.replace(manifest.tiles, overlap=32)
    wide = msgspec.structs.replace(manifest, tiles=hints)
    needed = choose(wide, Size(200, 200), tile=16).peak_bytes
    assert choose(wide, Size(200, 200), budget=needed).plan.overlap < 32
    with pytest.raises(LimitError):
        choose(wide, Size(200, 200), budget=needed, overlap=32)


@pytest.mark.parametrize(("tile", "side"), [(64, 32), (20, 20), (4, 16)])
def test_a_reduction_is_no_larger_than_the_tile_unless_its_reach_asks_for_it(guided_bundle, tile, side):
    manifest = open_bundle(guided_bundle()).manifest
    manifest = msgspec.structs.replace(manifest, reduction=Reduction(reach=3, preferred=32))
    choice = choose(manifest, Size(200, 200), tile=tile, overlap=0)
    assert choice.reduction is not None
    assert max(choice.reduction.tile) <= side
    assert choice.reduction.overlap == 8
    assert choice.reduction.canvas == Size(200, 200)


@pytest.mark.parametrize(("limit", "side"), [(64, 64), (50, 48), (32, 32), (4096, 64)])
def test_auto_stays_within_what_the_engine_takes(manifest, limit, side):
    """The canvas, which would be run whole, is cut; the side stays a multiple of what the network asks for."""
    choice = choose(manifest, Size(76, 76), limits={"denoise": limit})
    whole = limit > 76
    assert max(choice.plan.tile) == (76 if whole else min(side, max(choice.plan.tile)))
    assert max(choice.plan.tile) <= limit
    assert (len(choice.plan) == 1) == whole
    assert (choice.reason == "the largest that the engine takes") == (not whole)


def test_a_network_that_wants_the_whole_image_gets_what_the_engine_takes(manifest):
    whole = msgspec.structs.replace(manifest, tiles=msgspec.structs.replace(manifest.tiles, reach=None))
    assert len(choose(whole, Size(200, 200)).plan) == 1
    assert max(choose(whole, Size(200, 200), limits={"denoise": 128}).plan.tile) <= 128


def test_a_tile_beyond_the_engine_is_refused_with_the_largest(manifest):
    with pytest.raises(OptionError, match=r"at most 48: the engine was built for no more.*tile of 48"):
        choose(manifest, Size(200, 200), tile=64, limits={"denoise": 50})
    assert choose(manifest, Size(200, 200), tile=48, limits={"denoise": 50}).plan.tile == Size(48, 48)
    assert choose(manifest, Size(40, 40), tile=64, limits={"denoise": 50}).plan.tile == Size(40, 40)  # never so large


def test_an_engine_that_is_too_small_for_the_overlap_is_said(manifest):
    assert choose(manifest, Size(200, 200), limits={"denoise": 12}).plan.overlap == 4  # what the tile has room for
    with pytest.raises(OptionError, match=r"an engine for at most 12 x 12 pixels; expected one that takes 32 x 32"):
        choose(manifest, Size(200, 200), overlap=16, limits={"denoise": 12})
    with pytest.raises(OptionError, match="one that takes 8 x 8"):
        choose(manifest, Size(200, 200), limits={"denoise": 4})


def fixed(*sides: int) -> Profile:
    """For tiles of that height and width alone, in batches of one to four."""
    height, width = (Range(side, side, side) for side in sides)
    return Profile(batch=Range(1, 1, 4), height=height, width=width)


def test_tiles_are_of_shapes_that_the_engine_was_built_for(manifest):
    """Shrunk to what covers the canvas evenly where a profile takes that, else as large as was built."""
    canvas, told = Size(76, 152), {"limits": {"denoise": 64}}
    assert choose(manifest, canvas, **told).plan.tile != Size(64, 64)
    exact = choose(manifest, canvas, **told, profiles={"denoise": (fixed(64, 64),)})
    assert exact.plan.tile == Size(64, 64)
    ranged = Profile(batch=Range(1, 1, 1), height=Range(8, 64, 64), width=Range(8, 64, 64))
    both = choose(manifest, canvas, **told, profiles={"denoise": (fixed(64, 64), ranged)})
    assert both.plan.tile == choose(manifest, canvas, **told).plan.tile
    with pytest.raises(
        OptionError, match=r"tile of denoise: found 40x64, on a canvas of 40 x 152; expected one of 64x64"
    ):
        choose(manifest, Size(40, 152), **told, profiles={"denoise": (fixed(64, 64),)})
    with pytest.raises(OptionError, match=r"tile of denoise: found 48x48"):
        choose(manifest, canvas, tile=48, **told, profiles={"denoise": (fixed(64, 64),)})


def test_the_reduction_stays_within_its_own_engine(guided_bundle):
    plain = open_bundle(guided_bundle()).manifest
    manifest = msgspec.structs.replace(plain, reduction=Reduction(reach=1, preferred=32))  # with halos: 16 at least
    free = choose(manifest, Size(60, 60), tile=32)
    limited = choose(manifest, Size(60, 60), tile=32, limits={"reduce": 23})
    assert (max(free.reduction.tile), max(limited.reduction.tile)) == (28, 20)
    assert limited.plan == free.plan
    own = choose(manifest, Size(60, 60), prior="tile", limits={"reduce": 12, "decode": 16})
    assert max(own.plan.tile) <= 12  # each tile is reduced as it is
    with pytest.raises(OptionError, match=r"reduce: .*one that takes 16 x 16"):
        choose(manifest, Size(60, 60), limits={"reduce": 15})


def test_the_memory_mend_does_not_name_a_tile_that_the_engine_refuses(manifest):
    with pytest.raises(LimitError) as raised:
        choose(manifest, Size(200, 200), tile=48, budget=2_500_000, limits={"denoise": 48})
    assert "tile of" in raised.value.mend
    assert int(raised.value.mend.split("tile of ")[1].rstrip(".")) < 48


def test_what_engines_take_is_told_apart(manifest):
    """Planted: what the image takes is not the engine's."""
    plain, held = choose(manifest, Size(200, 120), tile=64), choose(manifest, Size(200, 120), tile=64, held=7_000_000)
    assert plain.engine_bytes == held.engine_bytes == int(1_000_000 + 1000.0 * 64 * 64)
    assert held.peak_bytes - plain.peak_bytes == 7_000_000
    larger = choose(manifest, Size(200, 240), tile=64)
    assert larger.engine_bytes == plain.engine_bytes
    assert larger.peak_bytes > plain.peak_bytes  # a wider band of blended rows
    assert choose(manifest, Size(200, 120), tile=32).engine_bytes < plain.engine_bytes


def test_a_further_tile_takes_what_its_arrays_take(manifest):
    one, deep = choose(manifest, Size(200, 120), tile=64), choose(manifest, Size(200, 120), tile=64, depth=2)
    assert one.tile_bytes == 64 * 64 * 3 * 4 * 6
    assert deep.tile_bytes - one.tile_bytes == 64 * 64 * 3 * 4 * 2
    assert one.tile_bytes < one.peak_bytes - one.engine_bytes
