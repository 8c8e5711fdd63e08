"""Bounds of numbers in a manifest, and what its parts must be to each other; more of the whole is in test_bundle.py."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.errors import BundleError
from lqhq.runtime.latent_spec import Latent, Prompt, Tagger
from lqhq.runtime.manifest import (
    ColourStep,
    Composite,
    Crop,
    EnlargeSmall,
    Manifest,
    MaskOut,
    Memory,
    Pad,
    Pixels,
    Quantize,
    Reduction,
    Resize,
    Tensor,
    TileHints,
    manifest_from_json,
    manifest_to_json,
)
from lqhq.runtime.schedule import Row, Schedule, Start


@pytest.mark.parametrize("ends", [(-1.0, 1.0), (0.0, 1.0), (0.0, 255.0), (0.0, 1e-3), (0.0, 1e6), (-5e5, 5e5)])
def test_ranges_that_networks_have(ends: tuple[float, float]) -> None:
    assert Pixels(range=ends, order="rgb").range == ends


@pytest.mark.parametrize(
    "ends",
    [
        (1.0, 1.0),
        (1.0, -1.0),
        (0.0, 9e-4),
        (0.0, 1.1e6),
        (2e6, 2e6 + 1),
        (-math.inf, 1.0),
        (0.0, math.inf),
        (math.nan, 1.0),
        (0.0, math.nan),
    ],
)
def test_ranges_without_meaning_in_float32(ends: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        Pixels(range=ends, order="rgb")


@pytest.mark.parametrize(("field", "most"), [("fixed", 1 << 50), ("per_pixel", 1e9), ("per_pair", 1e6)])
def test_memory_has_bounds(field: str, most: float) -> None:
    least = {"fixed": 1, "per_pixel": 1.0, "per_pair": 0.0}
    found = msgspec.convert({**least, field: most}, Memory)
    assert math.isfinite(found.peak((1 << 16) ** 2))
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert({**least, field: most * 2}, Memory)


ONE_ROW = Schedule(start=Start(), rows=(Row(t=1.0, c_state=0.0, c=(1.0,)),))
AXES = ["N", 3, "H", "W", "2H", "16W"]


@pytest.mark.parametrize("axis", AXES)
def test_axes_of_a_tensor(axis: int | str) -> None:
    assert msgspec.convert({"dtype": "float32", "shape": ["N", axis]}, Tensor).shape == ("N", axis)


@pytest.mark.parametrize("axis", ["C", "1H", "17H", "04H", "H4", "4N", "", 0, (1 << 16) + 1])
def test_axes_that_no_tensor_has(axis: int | str) -> None:
    with pytest.raises(msgspec.ValidationError, match="shape"):
        msgspec.convert({"dtype": "float32", "shape": ["N", axis]}, Tensor)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"reduction": None}, "reduction must be there"),
        ({"reduction": Reduction(reach=8, preferred=16)}, "leaves no core"),
        (
            {"schedules": {"fast": Schedule(start=Start(), rows=(Row(t=1.0, c_state=0.0, c=(1.0,)),))}},
            "schedules must be there",
        ),
        ({"default_schedule": "fast"}, "default_schedule 'fast' is not among"),
        ({"prepare": (MaskOut(), Pad(mode="reflect", multiple=4, smallest=4))}, "mask_out needs scale 1"),
        ({"prepare": (Resize(filter="bicubic", factor=3), Pad(mode="edge", multiple=4, smallest=4))}, "enlarges by 3"),
        ({"finish": (Crop(), Composite(), Quantize(mode="round"))}, "finish must be crop"),
        ({"finish": (Crop(),)}, "finish must be crop"),
        (
            {"tiles": TileHints(multiple=4, smallest=4, preferred=16, overlap=8, blend="each")},
            "there is nothing in between",
        ),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    guided_bundle: Callable[..., Path], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        open_bundle(guided_bundle(growth=4, **fields), verified=None)


@pytest.mark.parametrize("missing", ["reduce", "encode", "decode"])
def test_roles_come_as_whole_pipelines(guided_bundle: Callable[..., Path], missing: str) -> None:
    graphs = dict(open_bundle(guided_bundle()).manifest.graphs)
    del graphs[missing]  # type: ignore[arg-type]
    with pytest.raises(BundleError, match="graphs has the roles"):
        open_bundle(guided_bundle("less", graphs=graphs), verified=None)


def test_a_masked_bundle_must_composite(guided_bundle: Callable[..., Path]) -> None:
    with pytest.raises(BundleError, match="composite"):
        open_bundle(guided_bundle(masked=True, finish=(Crop(), Quantize(mode="truncate"))), verified=None)


def test_growth_is_what_the_resize_leaves_to_the_graphs(guided_bundle: Callable[..., Path]) -> None:
    pad = Pad(mode="reflect", multiple=4, smallest=4)
    manifest = open_bundle(guided_bundle(growth=4)).manifest
    assert (manifest.factor, manifest.growth, manifest.channels, manifest.masked) == (1, 4, 3, False)
    both = msgspec.structs.replace(manifest, prepare=(Resize(filter="bicubic", factor=2), pad))
    assert (both.factor, both.growth) == (2, 2)


# Latent models


def latent(latent_bundle: Callable[..., Path], **options: Any) -> Manifest:
    return open_bundle(latent_bundle("whole", **options), verified=None).manifest


@pytest.mark.usefixtures("latent_prompt")
@pytest.mark.parametrize("options", [{}, {"worded": True}, {"worded": True, "tagged": True}, {"segmented": False}])
def test_a_latent_manifest_survives_its_text(latent_bundle: Callable[..., Path], options: dict[str, bool]) -> None:
    manifest = latent(latent_bundle, **options)
    assert manifest_from_json(manifest_to_json(manifest)) == manifest
    assert (manifest.growth, manifest.channels, manifest.masked) == (1, 3, False)
    assert manifest.small == EnlargeSmall(side=8)
    assert manifest.colour == ColourStep(kind="adain")


def test_other_manifests_have_neither_rule(tiny_bundle: Callable[..., Path]) -> None:
    manifest = open_bundle(tiny_bundle(), verified=None).manifest
    assert (manifest.small, manifest.colour) == (None, None)


PAD = Pad(mode="reflect", multiple=2, smallest=8)
RESIZE = Resize(filter="bicubic", factor=2)
SMALL, COLOUR, ROUND = EnlargeSmall(side=8), ColourStep(kind="adain"), Quantize(mode="round")
HINTS = TileHints(multiple=2, smallest=8, preferred=32, overlap=8, blend="each")
PROMPT = Prompt(tokenizer="assets/tokenizer.json", length=2, template="", empty=(0, 1))
TAGGER = Tagger(side=6, names="assets/tags.txt", thresholds="assets/thresholds.txt")


def without(*names: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The graphs but for some."""
    return lambda graphs: {name: graph for name, graph in graphs.items() if name not in names}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"latent": None}, "latent must be there with graphs for encode and denoise"),
        ({"graphs": without("decode")}, "graphs has the roles"),
        ({"graphs": without("encode", "decode")}, "latent must be there"),
        ({"graphs": without("text")}, "graphs has the roles"),  # a tagger without words
        ({"graphs": without("tag")}, "prompt and tagger must be there"),
        ({"graphs": without("text", "tag")}, "prompt and tagger must be there"),
        ({"prompt": None}, "prompt and tagger must be there"),
        ({"tagger": None}, "prompt and tagger must be there"),
        ({"baked_prompt": "a cat"}, "a baked prompt leaves no graph for text"),
        ({"baked_prompt": "a" * 4097}, "baked_prompt"),
        ({"latent": Latent(channels=4, factor=4)}, "their multiple is the latent's factor"),
        ({"tiles": msgspec.structs.replace(HINTS, blend="final")}, "blended at each step"),
        ({"prompt": msgspec.structs.replace(PROMPT, tokenizer="assets/other.json")}, "'assets/other.json' is named"),
        ({"tagger": msgspec.structs.replace(TAGGER, names="assets/other.txt")}, "'assets/other.txt' is named"),
        ({"tagger": msgspec.structs.replace(TAGGER, thresholds="assets/o.txt")}, "'assets/o.txt' is named"),
        ({"segments": lambda parts: {"denoise": parts["encode"]}}, "segments of .*denoise"),
        ({"segments": lambda parts: parts | {"encode": parts["encode"][:1]}}, "segments|length"),
        ({"segments": lambda parts: parts | {"encode": parts["encode"][::-1]}}, "not in order"),
        ({"segments": lambda parts: parts | {"decode": parts["decode"][:2]}}, "segments.decode end with 'large0'"),
        ({"prepare": (RESIZE, SMALL, PAD)}, "prepare must be pad"),
        ({"prepare": (SMALL, SMALL, RESIZE, PAD)}, "prepare must be pad"),
        ({"prepare": (SMALL, PAD, RESIZE)}, "prepare must be pad"),
        ({"prepare": (SMALL, PAD)}, "prepare enlarges by 1, but scale is 2"),
        ({"finish": (Crop(), COLOUR, COLOUR, ROUND)}, "finish must be crop"),
        ({"finish": (Crop(), ROUND, COLOUR)}, "finish must be crop"),
        ({"finish": (COLOUR, Crop(), ROUND)}, "finish must be crop"),
    ],
)
def test_a_latent_manifest_that_contradicts_itself_is_refused(
    latent_bundle: Callable[..., Path], fields: dict[str, Any], message: str
) -> None:
    """The planted faults; what is not replaced is a manifest that opens."""
    whole = latent(latent_bundle, worded=True, tagged=True)
    raw = {name: value(getattr(whole, name)) if callable(value) else value for name, value in fields.items()}
    with pytest.raises(BundleError, match=message):
        open_bundle(latent_bundle("faulty", worded=True, tagged=True, **raw), verified=None)


def test_a_segment_whose_file_is_not_listed_is_refused(latent_bundle: Callable[..., Path]) -> None:
    parts = latent(latent_bundle).segments
    lost = {
        **parts,
        "decode": (msgspec.structs.replace(parts["decode"][0], file="segments/lost.onnx"), *parts["decode"][1:]),
    }
    with pytest.raises(BundleError, match=r"'segments/lost.onnx' is named, but is not in files"):
        open_bundle(latent_bundle("faulty", segments=lost), verified=None)


@pytest.mark.parametrize("name", ["segments", "original", "baked_prompt"])
def test_others_have_no_part_of_a_latent_model(
    latent_bundle: Callable[..., Path], tiny_bundle: Callable[..., Path], name: str
) -> None:
    whole = latent(latent_bundle)
    with pytest.raises(BundleError, match="belong to models with a latent"):
        open_bundle(tiny_bundle(**{name: getattr(whole, name)}), verified=None)


def test_others_do_not_enlarge_small_images(tiny_bundle: Callable[..., Path]) -> None:
    with pytest.raises(BundleError, match="latent: enlarge_small first"):
        open_bundle(tiny_bundle(prepare=(SMALL, Pad(mode="reflect", multiple=4, smallest=8))), verified=None)


def test_a_colour_fix_may_be_any_models_but_one_that_fills_holes(
    tiny_bundle: Callable[..., Path], guided_bundle: Callable[..., Path]
) -> None:
    found = open_bundle(tiny_bundle(finish=(Crop(), COLOUR, ROUND)), verified=None).manifest
    assert found.colour == COLOUR
    with pytest.raises(BundleError, match="finish must be crop"):
        open_bundle(guided_bundle(masked=True, finish=(Crop(), Composite(), COLOUR, ROUND)), verified=None)
