"""The page: everything that a reader must know is on it, and nothing can drive the terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from lqhq.runtime.bundle import read_manifest
from lqhq.runtime.manifest import Licence, Manifest
from lqhq.tools.cli.inspect_page import graph_bytes, page

Change = Callable[[Manifest], dict[str, object]]


@pytest.fixture
def manifest(tiny_bundle: Callable[..., Path]) -> Manifest:
    return read_manifest(tiny_bundle(scale=4, external=True))


def shown(manifest: Manifest) -> str:
    """The page with runs of spaces made one."""
    return "\n".join(" ".join(line.split()) for line in page(manifest).splitlines())


def test_the_page_says_it_all(manifest: Manifest) -> None:
    text = shown(manifest)
    for line in (
        "tiny: super-resolution x4, family indi",
        "pixels RGB, -1 to 1 inside the graphs",
        "prepare enlarge x4 (bicubic, a = -0.5); extend right and bottom by reflection to multiples of 4 px, "
        "at least 8 px",
        "finish cut the extension away; clamp, then round to the nearest integer",
        "memory denoise fp32: 1.05 MB + 64 bytes per tile pixel, about 1.11 MB for 32x32",
        "in state float32 [N, 3, H, W] one per tile",
        "in t float32 [N] one per sample",
        "out pred float32 [N, 3, H, W] one per tile",
        "side 32 px (at least 8, multiples of 4), overlap 8 px",
        "tiled differs from untiled: zero padding: 1 px",
        "* fast 1 row t = 1 no noise no clip one InDI step",
        "base CC0-1.0 made by a test",
        "adapter unknown",
        "tiny.safetensors 108 bytes sha256 abababababab",
        "read as test, exported with onnx 1; manifest version 1",
        "denoise fp32 3 1.0e-06 5.0e-07 120.0 dB 1.00000 0 2.0e-05 passed",
    ):
        assert line in text.splitlines(), line
    graph = manifest.graphs["denoise"]["fp32"]
    assert f"denoise fp32: {graph_bytes(manifest, graph)} bytes, pred is x0" in text
    total = sum(record.bytes for record in manifest.files.values())
    assert graph_bytes(manifest, graph) == total
    assert f"in all {total} bytes" in text
    for name, record in manifest.files.items():
        assert f"{name} {record.bytes} bytes sha256 {record.sha256[:12]}" in text


def test_a_guided_bundle_says_what_it_needs_and_how_it_is_tiled(guided_bundle: Callable[..., Path]) -> None:
    text = shown(read_manifest(guided_bundle(masked=True)))
    for line in (
        "guided: inpainting, family guided",
        "prepare set the hole to zero and append it as a channel; extend right and bottom by reflection with the edge "
        "pixel to multiples of 4 px, at least 4 px",
        "finish cut the extension away; keep the given pixels outside the hole; clamp, then cut off the fraction",
        "memory decode fp32: 1.05 MB + 64 bytes per tile pixel, about 1.06 MB for 16x16",
        "in mask float32 [N, 1, H, W] one per tile",
        "out cond float32 [N, 4] one per image",
        "prior of the whole image: from tiles of 16 px that see 1 px around their core; with --prior tile each tile "
        "has its own",
        "none: one pass, guided by a vector",
    ):
        assert line in text.splitlines(), line


def failed(manifest: Manifest) -> dict[str, object]:
    worst = msgspec.structs.replace(manifest.parity[0], passed=False, psnr=None, ssim=None)
    return {"parity": (worst,)}


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (failed, "denoise fp32 3 1.0e-06 5.0e-07 - - 0 2.0e-05 FAILED"),
        (lambda _: {"parity": ()}, "never compared with PyTorch"),
        (lambda _: {"licences": ()}, "unknown: the bundle names none"),
        (
            lambda one: {"tiles": msgspec.structs.replace(one.tiles, deviations=(), trained=64, blend="each")},
            "side 32 px (at least 8, multiples of 4, trained on 64 px), overlap 8 px",
        ),
        (
            lambda one: {"tiles": msgspec.structs.replace(one.tiles, reach=5)},
            "one call looks 5 px around a pixel; where tiles meet it sees at least 2 px",
        ),
    ],
)
def test_unusual_bundles_are_told_apart(manifest: Manifest, change: Change, line: str) -> None:
    assert line not in shown(manifest).splitlines()
    assert line in shown(msgspec.structs.replace(manifest, **change(manifest))).splitlines()


def test_hostile_text_cannot_drive_the_terminal(manifest: Manifest) -> None:
    licence = Licence(part="base\x1b]0;x\x07", licence="MIT\r\nPARITY", attribution="\u202eevil")
    text = page(msgspec.structs.replace(manifest, licences=(licence,)))
    assert not any(char in text for char in "\x1b\x07\r\u202e")
    assert "MIT??PARITY" in text
