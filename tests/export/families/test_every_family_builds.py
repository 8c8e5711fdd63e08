"""Every declared family, from its checkpoint to half-precision TensorRT-RTX engines, built for real without a GPU."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lqhq.export.families import FAMILIES
from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.engines.trt.truth import SIZES, TELLING
from lqhq.runtime.nvidia import Nvidia
from lqhq.tools.cli.main import run

DATA = Path(__file__).parents[2] / "data" / "osediff-tiny"
# The least DiffIR that has every part: attention at the first and the last level, a tail, CPEN without blocks.
DIFFIR = {"blocks": (1, 0, 0, 1), "refinement": 0, "heads": (1, 1, 1, 2), "hidden": (8, 9, 1, 16), "encoder_blocks": 0}
LQ_DDPM = [str(DATA.parent / "lq_ddpm-diffusers-tiny" / "pipeline"), "--steps", "4", "--max-strength", "0.5"]
# The golden set. Minutes to export: slow.
OSEDIFF = [str(DATA / "osediff.pkl"), "--base", str(DATA / "base"), "--process-size", "48"]
NAMES = [pytest.param(one.name, marks=pytest.mark.slow) if one.joined else one.name for one in FAMILIES]
TARGETS = {"indi": "sm86,sm89,sm120"}  # of the others one: each costs as much again


def engine(family: str) -> list[str]:
    targets = TARGETS.get(family, "sm89")
    return ["--engine", "tensorrt-rtx", "--target", targets, "--profile", "32x32@1-2"]


@pytest.fixture(scope="module")
def halves(tmp_path_factory, exported, official) -> Callable[[str], Path]:
    """`halves(family)` is a bundle of that family with fp16 graphs; the first call exports it.

    That of diffir is exported with `--engine`, into the cache beside it.
    """
    root, done = tmp_path_factory.mktemp("halves"), {}

    def bundle(family: str) -> Path:
        if family == "indi":
            return exported("film-half")
        if family not in done:
            checkpoints = {"diffir": [str(root / "net_g.pth")], "osediff": OSEDIFF, "lq-ddpm": LQ_DDPM}
            assert family in checkpoints, f"no small checkpoint of {family}: add one here"
            torch.save(official(**DIFFIR)[1], root / "net_g.pth")
            words = ["export", family, *checkpoints[family], "-o", str(root / family), "--precision", "fp16"]
            built = [*engine(family), "--cache", str(root / "engines")] if family == "diffir" else []
            assert run([*words, *built]) == 0
            done[family] = root / family
        return done[family]

    return bundle


@pytest.mark.parametrize("family", NAMES)
def test_engines_build_and_their_types_are_those_of_the_plan(halves, family, tmp_path, capsys):
    bundle, cache = halves(family), tmp_path / "engines"
    if family == "diffir":
        cache = bundle.parent / "engines"  # what export built is what is asked for now
    assert run(["engines", "build", str(bundle), "--precision", "fp16", *engine(family), "--cache", str(cache)]) == 0
    assert capsys.readouterr().out.count("ready (its build took") == (3 if family == "diffir" else 0)
    assert run(["engines", "list", "--json", "--cache", str(cache)]) == 0
    built = {one["record"]["key"]["role"]: one["record"] for one in json.loads(capsys.readouterr().out)}
    opened = open_bundle(bundle)
    assert built.keys() == opened.manifest.graphs.keys()
    for role, record in built.items():
        plan = opened.graph(role, "fp16").graph.plan
        assert plan is not None
        elements = sum(size // SIZES[dtype] for dtype, size in plan.weights.items())
        assert record["state"] == ("verified" if elements >= TELLING else "partly")
        assert record["key"]["targets"] == TARGETS.get(family, "sm89").split(",")
        parsed = {
            kind: {dtype: n for dtype, n in types.items() if n} for kind, types in record["parsed"]["layers"].items()
        }
        assert {kind: types for kind, types in parsed.items() if types} == plan.layers
        for dtype, size in plan.weights.items():
            assert record["parsed"]["weights"][dtype] == pytest.approx(size, rel=0, abs=1024)


@pytest.mark.parametrize("family", NAMES)
def test_half_precision_is_most_of_it(halves, family):
    """The planted fault of all peers: fp16 that is fp32."""
    manifest = open_bundle(halves(family)).manifest
    for role, variants in manifest.graphs.items():
        if role == "encode" and manifest.latent is None:  # vectors; it stays in float32 on purpose
            continue
        plan = variants["fp16"].plan
        assert plan is not None
        assert plan.weights["float16"] > 0.9 * sum(plan.weights.values())
        main = plan.layers["matmul" if role in ("text", "tag") else "convolution"]
        assert main.keys() == {"float16"}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--engine", "tensorrt-rtx", "--target", "sm90"], "no Hopper target"),
        (["--engine", "tensorrt-rtx"], "a GPU to build for"),
        (["--engine", "tensorrt-rtx", "--target", "sm89", "--profile", "x"], "HEIGHTxWIDTH"),
        (["--engine", "tensorrt-rtx", "--target", "sm89", "--cache", "FILE"], "a folder that may be written to"),
        (["--target", "sm89"], "--target: found no --engine"),
        (["--profile", "32x32"], "--profile: found no --engine"),
        (["--cache", "FILE"], "--cache: found no --engine"),
    ],
)
def test_what_cannot_be_built_is_told_before_the_export(film, tmp_path, capsys, monkeypatch, words, told):
    monkeypatch.setattr("lqhq.runtime.engines.trt.flavour.find_nvidia", lambda: Nvidia(fault="no driver"))
    (tmp_path / "file").write_text("")
    words = [str(tmp_path / "file" / "c") if word == "FILE" else word for word in words]
    assert run(["export", "indi", str(film()), "-o", str(tmp_path / "out"), *words]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
