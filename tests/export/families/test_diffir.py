"""Whole exports: the golden sets through the command line and the bundle, and a small network in the quick suite."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from lqhq.export.families import diffir
from lqhq.export.load import load_model
from lqhq.export.validate import _tiled
from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.image_file import ImageFile
from lqhq.runtime.image_write import write_image
from lqhq.runtime.restorer import Restorer
from lqhq.tools.cli.main import run

DATA = Path(__file__).parents[2] / "data"
GOLDENS = {name: DATA / f"diffir-{name}-tiny" / "net_g_latest.pth" for name in ("srx4", "srx2", "deblur")}
GOLDENS |= {"inpainting": DATA / "diffir-inpainting-tiny" / "last.ckpt"}
CASES = [(name, case.stem[-1]) for name, file in GOLDENS.items() for case in sorted(file.parent.glob("case-*.npz"))]

COND, IMAGE, CHANGED = 2e-5, 1e-4, 1e-3  # what exports are held to: max abs, max abs, share of 8-bit values off by one
# The least that has every part: attention at the first and the last level, a hole, CPEN without residual blocks.
SMALL = {
    "channels": 4,
    "tail": False,
    "scale": 1,
    "norm_bias": True,
    "blocks": (1, 0, 0, 1),
    "refinement": 0,
    "heads": (1, 1, 1, 2),
    "hidden": (8, 9, 1, 16),
    "encoder_blocks": 0,
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Callable[[str], Path]:
    """`exported(name)` is the bundle of a golden set; the first call exports it with no flag given."""
    root, done = tmp_path_factory.mktemp("bundles"), {}

    def bundle(name: str) -> Path:
        if name not in done:
            assert run(["export", "diffir", str(GOLDENS[name]), "-o", str(root / name)]) == 0
            done[name] = root / name
        return done[name]

    return bundle


def sessions(bundle):
    return {
        role: OnnxSession(bundle.path(variants["fp32"].file), threads=1)
        for role, variants in bundle.manifest.graphs.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize(("name", "case"), CASES)
def test_the_graphs_give_the_golden_vectors_and_images(exported, name, case):
    opened, data = sessions(open_bundle(exported(name))), np.load(GOLDENS[name].parent / f"case-{case}.npz")
    lq = data["net_input"]
    found = opened["reduce"].run({"lq": lq, "mask": np.ones_like(lq[:, :1])})
    cond = opened["encode"].run({"pooled": found["sums"] / found["count"], "noise": data["z_T"]})["cond"]
    assert np.abs(cond - data["ipr"]).max() < COND
    assert np.abs(opened["decode"].run({"lq": lq, "cond": cond})["hq"] - data["dirformer_out"]).max() < IMAGE


@pytest.mark.slow
@pytest.mark.parametrize(("name", "case"), CASES)
def test_the_bundle_restores_the_golden_images(exported, name, case):
    """Samples one by one, as images come, with the stored noise; 8 bits, and floats before the rounding."""
    data = np.load(GOLDENS[name].parent / f"case-{case}.npz")
    with Restorer.open(exported(name), threads=1) as restorer:
        for at in range(len(data["image"])):
            image = np.moveaxis(data["image"][at], 0, -1)
            final, levels = (np.moveaxis(data[key][at], 0, -1) for key in ("final", "final_u8"))
            options = {"noise": {"prior": data["z_T"][at]}, "mask": data["mask"][at, 0] if "mask" in data else None}
            assert np.abs(restorer.restore(image, **options) - final.clip(0, 1)).max() < IMAGE
            found = restorer.restore(np.round(image * 255).astype(np.uint8), **options)
            apart = np.abs(found.astype(int) - levels)
            assert apart.max() <= 1
            assert (apart > 0).mean() <= CHANGED
            other = restorer.restore(image, **{**options, "noise": {"prior": -data["z_T"][at]}})
            assert np.abs(other - final.clip(0, 1)).max() > 10 * IMAGE  # the planted fault


@pytest.mark.slow
@pytest.mark.parametrize("name", GOLDENS)
def test_the_bundle_says_what_it_is_and_checks_itself(exported, name, capsys):
    manifest = open_bundle(exported(name)).manifest
    assert (manifest.family, manifest.provenance.format, manifest.provenance.config) == ("diffir", "official", {})
    assert list(manifest.graphs) == ["reduce", "encode", "decode"]
    memory = {role: variants["fp32"].memory for role, variants in manifest.graphs.items()}
    assert memory["encode"].per_pixel == 0
    assert memory["decode"].per_pixel > 0
    assert all(record.passed for record in manifest.parity)
    size = sum(record.bytes for file, record in manifest.files.items() if file.startswith("goldens/"))
    assert size < 600_000
    assert run(["parity", str(exported(name))]) == 0
    assert "parity holds in" in capsys.readouterr().out


@pytest.fixture(scope="module")
def small(tmp_path_factory, official) -> tuple[Path, Path]:
    """A small inpainting checkpoint in Lightning's form, and its bundle. Tracing takes seconds."""
    root = tmp_path_factory.mktemp("small")
    tensors = official(**SMALL)[1]
    torch.save({"state_dict": {f"generator.{name}": tensor for name, tensor in tensors.items()}}, root / "last.ckpt")
    assert run(["export", "diffir", str(root / "last.ckpt"), "-o", str(root / "bundle"), "--name", "mine"]) == 0
    return root / "last.ckpt", root / "bundle"


@pytest.fixture
def photo(tmp_path) -> tuple[Path, Path]:
    """An image and its mask, of odd sides."""
    draw = np.random.default_rng(9)
    mask = np.zeros((27, 35, 1), np.uint8)
    mask[20:, 5:15] = 255
    files = (tmp_path / "photo.png", tmp_path / "hole.png")
    for file, pixels in zip(files, (draw.integers(0, 256, (27, 35, 3), dtype=np.uint8), mask), strict=True):
        write_image(file, ImageFile(pixels=pixels))
    return files


def test_a_small_bundle_checks_itself_and_against_its_checkpoint(small, photo, capsys):
    checkpoint, bundle = small
    assert open_bundle(bundle).manifest.name == "mine"
    assert run(["parity", str(bundle)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "parity holds in 12 cases"
    argv = ["parity", str(bundle), "--checkpoint", str(checkpoint), "--image", str(photo[0]), "--mask", str(photo[1])]
    assert run([*argv, "--json"]) == 0
    cases = json.loads(capsys.readouterr().out)["cases"]
    assert {case["what"] for case in cases} == {"reduce", "sums of tiles", "encode", "decode", "trajectory", "image"}
    assert any(case["case"] == "photo.png 27x35" for case in cases)


def test_tiles_of_sums_must_see_as_far_as_cpen_looks(small):
    """The planted fault: half the reach."""
    checkpoint, bundle = small
    recipe, opened = load_model(diffir.FAMILY, checkpoint).recipe, open_bundle(bundle)
    assert recipe.reduction == opened.manifest.reduction
    with sessions(opened)["reduce"] as session:
        assert _tiled(recipe.graphs[0], session, recipe.reduction).passed
        short = msgspec.structs.replace(recipe.reduction, reach=recipe.reduction.reach // 2)
        assert not _tiled(recipe.graphs[0], session, short).passed


def test_its_hole_is_filled_and_the_rest_is_kept(small):
    draw = np.random.default_rng(3)
    image, mask = draw.integers(0, 256, (19, 21, 3), dtype=np.uint8), np.zeros((19, 21), np.uint8)
    mask[3:9, 10:] = 1
    with Restorer.open(small[1], threads=1) as restorer:
        found = restorer.restore(image, mask=mask)
    assert np.array_equal(found[mask == 0], image[mask == 0])
    assert not np.array_equal(found[mask > 0], image[mask > 0])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--image", "PHOTO"], "found none; expected a mask"),
        (["--mask", "HOLE"], "1 for 0 images"),
        (["--image", "PHOTO", "--mask", "PHOTO", "--mask", "HOLE"], "2 for 1 images"),
    ],
)
def test_masks_go_with_images(small, photo, flags, words, capsys):
    named = {"PHOTO": str(photo[0]), "HOLE": str(photo[1])}
    argv = ["parity", str(small[1]), "--checkpoint", str(small[0]), *(named.get(flag, flag) for flag in flags)]
    assert run(argv) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            ["--time-scale=1"],
            "time_scale: found a value, in --config or as a flag; expected none: the weights of a DiffIR tell",
        ),
        (["--schedule=fast=steps:1"], "schedules: found"),
        (["--scale=2"], "scale: found a value"),
        (["--format=sr3"], "expected official"),
    ],
)
def test_flags_of_other_families_are_refused(small, tmp_path, flags, words, capsys):
    assert run(["export", "diffir", str(small[0]), "-o", str(tmp_path / "out"), *flags]) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_another_network_is_told_apart(small, tmp_path, official, capsys):
    """The planted fault: a network of the same shape from another seed."""
    torch.save(official(seed=12, **SMALL)[1], tmp_path / "other.pth")
    assert run(["parity", str(small[1]), "--checkpoint", str(tmp_path / "other.pth")]) == 1
    assert "PARITY FAILS" in capsys.readouterr().out
