"""What segments take and give, by kind, and segments that cannot be run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lqhq.runtime.bundle import read_manifest
from lqhq.runtime.errors import BundleError
from lqhq.runtime.latent_spec import GroupNorm, Segment
from lqhq.runtime.manifest import Manifest
from lqhq.runtime.segment_contract import segment_graphs

NORM = GroupNorm(groups=2, eps=1e-6)


def segment(x: str, y: str, **fields: Any) -> Segment:
    return Segment(**{"file": f"segments/{y}.onnx", "x": x, "y": y, "channels": 4, **fields})


# A decode by 4 with every kind of segment.
DECODE = (
    segment("input", "first", channels=8, halo=1),
    segment("first", "qkv", channels=24, norm=NORM),
    segment("qkv", "mixed", channels=8, kind="attention", skip="first"),
    segment("mixed", "large", channels=6, up=2, norm=NORM, halo=1, skip="first"),
    segment("large", "output", channels=3, up=2, halo=1, external_data=("segments/output.data",)),
)
ENCODE = (
    segment("input", "half", channels=6, down=2, halo=2),
    segment("half", "quarter", down=2, norm=NORM, halo=2),
    segment("quarter", "output", skip="noise"),
)


@pytest.fixture
def manifest(latent_bundle: Callable[..., Path]) -> Manifest:
    return read_manifest(latent_bundle(factor=4))


def graphs(manifest: Manifest, role: Any, segments: tuple[Segment, ...]) -> list[Any]:
    # Straight into the field: the manifest itself would look for the files.
    changed = msgspec.structs.replace(manifest)
    msgspec.structs.force_setattr(changed, "segments", {role: segments})
    return segment_graphs(changed, role)


def shapes(graph: Any) -> tuple[dict[str, Any], Any]:
    assert {tensor.dtype for tensor in (*graph.inputs.values(), *graph.outputs.values())} == {"float32"}
    return {name: tensor.shape for name, tensor in graph.inputs.items()}, graph.outputs["y"].shape


def test_a_decode_of_every_kind(manifest: Manifest) -> None:
    found = graphs(manifest, "decode", DECODE)
    assert [shapes(graph) for graph in found] == [
        ({"x": ("N", 4, "H", "W")}, ("N", 8, "H", "W")),
        ({"x": ("N", 8, "H", "W"), "mean": ("N", 8), "rstd": ("N", 8)}, ("N", 24, "H", "W")),
        (
            {"q": ("N", 8, "H"), "k": ("N", 8, "H"), "v": ("N", 8, "H"), "skip": ("N", 8, "H")},
            ("N", 8, "H"),
        ),
        (
            {"x": ("N", 8, "H", "W"), "skip": ("N", 8, "H", "W"), "mean": ("N", 8), "rstd": ("N", 8)},
            ("N", 6, "2H", "2W"),
        ),
        ({"x": ("N", 6, "H", "W")}, ("N", 3, "2H", "2W")),
    ]
    assert found[4].file == "segments/output.onnx"
    assert found[4].external_data == ("segments/output.data",)


def test_an_encode_begins_with_pixels_and_takes_noise(manifest: Manifest) -> None:
    assert [shapes(graph) for graph in graphs(manifest, "encode", ENCODE)] == [
        ({"x": ("N", 3, "H", "W")}, ("N", 6, "H", "W")),
        ({"x": ("N", 6, "H", "W"), "mean": ("N", 6), "rstd": ("N", 6)}, ("N", 4, "H", "W")),
        ({"x": ("N", 4, "H", "W"), "skip": ("N", 4, "H", "W")}, ("N", 4, "H", "W")),
    ]


def test_the_bundles_own_fit(manifest: Manifest) -> None:
    assert [len(segment_graphs(manifest, role)) for role in ("encode", "decode")] == [4, 4]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("index", "fields", "found"),
    [
        (
            1,
            {"norm": GroupNorm(groups=3, eps=1e-6)},
            r"decode\[1\]: found a norm of 3 groups of 'first', of 8 channels",
        ),
        (3, {"x": "first"}, r"decode\[3\]: found a norm of 2 groups of 'first', .* or normed before"),
        (1, {"down": 2}, r"decode\[1\]: found 'first' halved to less than latents"),
        (4, {"skip": "first"}, r"decode\[4\]: found skip 'first' of another size than 'large'"),
        (2, {"channels": 4}, r"decode\[2\]: found attention over 'qkv', of 24 channels"),
        (2, {"x": "input"}, r"found attention over 'input', of 4 channels"),
        (2, {"skip": "input"}, r"found attention with a skip 'input'"),
        (4, {"channels": 4}, r"decode\[4\]: found an output of 4 channels, 4 times the latent's sides"),
        (4, {"up": 1}, r"decode\[4\]: found an output of 3 channels, 2 times the latent's sides"),
    ],
)
def test_what_cannot_be_run_is_refused(manifest: Manifest, index: int, fields: dict[str, Any], found: str) -> None:
    """The planted faults: each of them would be a crash in the middle of an image."""
    changed = list(DECODE)
    changed[index] = msgspec.structs.replace(DECODE[index], **fields)
    with pytest.raises(BundleError, match=rf"{found}.*Export the checkpoint again"):
        graphs(manifest, "decode", tuple(changed))


def test_an_encode_must_come_to_latents(manifest: Manifest) -> None:
    with pytest.raises(BundleError, match=r"encode\[0\]: found skip 'noise' of another size than 'input'"):
        graphs(manifest, "encode", (msgspec.structs.replace(ENCODE[0], skip="noise"), *ENCODE[1:]))
    with pytest.raises(BundleError, match=r"encode\[1\]: found an output of 4 channels, 2 times the latent's sides"):
        graphs(manifest, "encode", (ENCODE[0], segment("half", "output")))
    with pytest.raises(BundleError, match=r"encode\[2\]: found an output of 3 channels, 1 times"):
        graphs(manifest, "encode", (*ENCODE[:2], msgspec.structs.replace(ENCODE[2], channels=3)))
