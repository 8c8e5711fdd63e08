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
from lqhq.runtime.manifest import (
    Composite,
    Crop,
    MaskOut,
    Memory,
    Pad,
    Pixels,
    Quantize,
    Reduction,
    Resize,
    Tensor,
    TileHints,
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
