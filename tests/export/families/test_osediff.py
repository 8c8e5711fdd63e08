"""OSEDiff from its official files through the command line: every golden case, prompts, strips, half precision."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.errors import LimitError
from lqhq.runtime.image_file import ImageFile, read_image
from lqhq.runtime.image_write import write_image
from lqhq.runtime.prompt import PromptTokenizer
from lqhq.runtime.restorer import Restorer
from lqhq.tools.cli.main import run

DATA = Path(__file__).parents[2] / "data" / "osediff-tiny"
FINAL = ("final-mean", "final-noise", "final-smallinput", "latent-tiled", "latent-tiled-narrow")
EPS, X0, IMAGE, TEXT, MOMENTS = 1e-5, 2e-4, 1e-4, 1e-5, 1e-5  # the README of the golden set
CHANGED = 1e-3  # share of 8-bit values that may be off by one
PROCESS_SIZE = "48"  # of the goldens
SCALING = 0.18215


def case(name: str) -> dict[str, Any]:
    with np.load(DATA / f"case-{name}.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Callable[..., Path]:
    """`exported(name, *flags)` is a bundle of the golden set; the first call exports it through the command line."""
    root, done = tmp_path_factory.mktemp("bundles"), {}

    def bundle(name: str, *flags: str) -> Path:
        if name not in done:
            words = ["export", "osediff", str(DATA / "osediff.pkl"), "--base", str(DATA / "base"), *flags]
            assert run([*words, "--process-size", PROCESS_SIZE, "-o", str(root / name)]) == 0
            done[name] = root / name
        return done[name]

    return bundle


@pytest.fixture(scope="module")
def sessions(exported):
    bundle = open_bundle(exported("plain"))
    return {
        role: OnnxSession(bundle.path(variants["fp32"].file), threads=1)
        for role, variants in bundle.manifest.graphs.items()
    }


@pytest.fixture(scope="module")
def restorer(exported):
    with Restorer.open(exported("plain"), threads=1) as opened:
        yield opened


def options(arrays: dict[str, Any]) -> dict[str, Any]:
    """What reproduces the original's run of a case."""
    given: dict[str, Any] = {"rules": "original", "prompt": str(arrays["prompt"])}
    if "noise" in arrays:
        given["noise"] = {"posterior": arrays["noise"][0]}
    if "latent_tiled_size" in arrays:
        given |= {"tile": 8 * int(arrays["latent_tiled_size"]), "overlap": 8 * int(arrays["latent_tiled_overlap"])}
    return given


def assert_equal_levels(found, wanted, *, most: int = 1) -> None:
    apart = np.abs(found.astype(int) - wanted.astype(int))
    assert apart.max() <= most
    assert (apart > 0).mean() <= CHANGED


def test_the_moments_are_the_goldens(sessions) -> None:
    given = case("vae-encode")
    lq = (given["image_u8"].astype(np.float32) / 255 * 2 - 1).transpose(2, 0, 1)[None]
    draw = np.random.default_rng(1).standard_normal(given["mean"].shape, dtype=np.float32)
    for noise in (np.zeros_like(draw), draw):
        wanted = (given["mean"] + np.exp(0.5 * given["logvar"]) * noise) * np.float32(SCALING)
        found = sessions["encode"].run({"lq": np.ascontiguousarray(lq), "noise": noise})["state"]
        assert found == pytest.approx(wanted, abs=MOMENTS)


def test_x0_is_the_golden(sessions) -> None:
    """Planted: without the step's own constants the prediction is off by far more than the bar."""
    given = case("unet")
    found = sessions["denoise"].run({"state": given["latents"], "cond": given["prompt_embeds"]})["pred"]
    assert found == pytest.approx(given["x0"], abs=X0)
    assert np.abs(given["eps_lora_merged"] - given["x0"]).max() > 1000 * X0


@pytest.mark.parametrize("name", FINAL)
def test_every_stage_of_a_run_is_the_golden(sessions, name) -> None:
    given = case(name)
    lq = np.ascontiguousarray((given["upscaled_u8"].astype(np.float32) / 255 * 2 - 1).transpose(2, 0, 1)[None])
    noise = given.get("noise", np.zeros_like(given["z"]))
    state = sessions["encode"].run({"lq": lq, "noise": noise})["state"]
    assert state == pytest.approx(given["z"], abs=MOMENTS)
    if "n_tiles" not in given:
        x0 = sessions["denoise"].run({"state": given["z"], "cond": given["prompt_embeds"]})["pred"]
        assert x0 == pytest.approx(given["x0"], abs=X0)
    if "image" in given:
        image = sessions["decode"].run({"state": given["x0"] * np.float32(1.0)})["hq"]
        assert np.clip(image, -1, 1) == pytest.approx(given["image"], abs=IMAGE)


def test_the_decoder_is_the_golden(sessions) -> None:
    given = case("vae-decode")
    found = sessions["decode"].run({"state": given["latent"] * np.float32(SCALING)})["hq"]
    assert found == pytest.approx(given["image"], abs=IMAGE)


def test_prompts_become_the_goldens_ids_and_embeddings(exported, sessions) -> None:
    bundle, given = open_bundle(exported("plain")), case("text")
    spec = bundle.manifest.prompt
    assert spec is not None
    tokenizer = PromptTokenizer.open(bundle.path(spec.tokenizer), spec)
    ids = np.concatenate([tokenizer.ids(str(text)).ids for text in given["prompts"]])
    assert (ids == given["input_ids"]).all()
    assert sessions["text"].run({"ids": ids})["cond"] == pytest.approx(given["prompt_embeds"], abs=TEXT)
    assert tokenizer.ids(str(given["prompts"][2])).cut > 0


@pytest.mark.parametrize("name", FINAL)
def test_finished_images_are_the_goldens(restorer, name) -> None:
    given = case(name)
    found = restorer.restore(given["lr_u8"], color_fix="none", **options(given))
    assert_equal_levels(found, given["image_u8"])
    for fix in ("adain", "wavelet"):
        if f"{fix}_u8" in given:
            fixed = restorer.restore(given["lr_u8"], color_fix=fix, **options(given))
            # adain scales what it is given, and with that the one level that the image may differ by.
            assert_equal_levels(fixed, given[f"{fix}_u8"], most=2 if fix == "adain" else 1)


def test_planted_the_default_rules_are_not_the_originals(restorer) -> None:
    given = case("latent-tiled")
    ours = restorer.restore(given["lr_u8"], color_fix="none", **(options(given) | {"rules": "default"}))
    assert ours.shape == (4 * 44, 4 * 59, 3)  # the original shrinks 236 pixels to 232
    assert (ours[:, :232] != given["image_u8"]).mean() > CHANGED


def test_the_tiles_of_the_original_are_the_goldens(restorer) -> None:
    for name in ("latent-tiled", "latent-tiled-narrow"):
        given = case(name)
        told = options(given)
        plan = restorer.plan(given["lr_u8"], rules="original", tile=told["tile"], overlap=told["overlap"]).plan
        assert len(plan) == int(given["n_tiles"])
        assert plan.tile == given["tile0_in"].shape[2:]


def test_the_command_line_makes_the_golden(exported, tmp_path, capsys) -> None:
    given = case("final-mean")
    source, target = tmp_path / "lr.png", tmp_path / "hq.png"
    write_image(source, ImageFile(pixels=given["lr_u8"]))
    words = ["upscale", str(exported("plain")), str(source), "-o", str(target), "--rules", "original"]
    assert run([*words, "--prompt", str(given["prompt"])]) == 0  # with the model's own colour fix
    assert_equal_levels(read_image(target).pixels, given["adain_u8"], most=2)
    assert run([*words, "--prompt", str(given["prompt"]), "--color-fix", "wavelet"]) == 0
    assert_equal_levels(read_image(target).pixels, given["wavelet_u8"])
    assert run([*words, "--prompt", "word " * 100]) == 0
    assert "too long" in capsys.readouterr().err
    assert run([*words, "--tagger"]) == 2
    assert "--ram" in capsys.readouterr().err


def test_strips_in_memory_and_on_disk_make_the_image_of_the_whole(restorer) -> None:
    """Every form that a budget leads to, at a size where the latent's sides are odd."""
    image = np.random.default_rng(5).integers(0, 256, (90, 126, 3), np.uint8)
    choices: dict[tuple[str, str], int] = {}
    memory = 2_000_000_000
    with suppress(LimitError):  # less than the smallest form takes
        while True:
            choice = restorer.plan(image, memory=memory, tile=512)
            choices.setdefault((choice.encode, choice.decode), memory)
            memory = memory * 9 // 10
    assert {form for forms in choices for form in forms} - {"whole"}  # which of the others, memory as measured decides
    whole, *others = (restorer.restore(image, memory=one, tile=512, color_fix="none") for one in choices.values())
    for other in others:
        assert_equal_levels(other, whole)


def test_any_size_comes_back_scaled(restorer) -> None:
    for height, width in ((1, 9), (13, 7), (31, 40)):
        image = np.full((height, width, 3), 90, np.uint8)
        assert restorer.restore(image).shape == (4 * height, 4 * width, 3)


def test_what_the_bundle_says_of_itself(exported, capsys) -> None:
    assert run(["inspect", str(exported("plain"))]) == 0
    page = capsys.readouterr().out
    for words in ("--prompt", "--rules original", "Open RAIL++-M", "adain", "enlarged"):
        assert words in page
    assert run(["parity", str(exported("plain"))]) == 0
    assert "parity holds" in capsys.readouterr().out


@pytest.mark.slow
def test_a_baked_prompt_is_that_prompt(exported, restorer, capsys) -> None:
    given = case("final-mean")
    path = exported("baked", "--prompt", str(given["prompt"]))
    assert set(open_bundle(path).manifest.graphs) == {"encode", "denoise", "decode"}
    with Restorer.open(path, threads=1) as baked:
        found = baked.restore(given["lr_u8"], rules="original")
    assert_equal_levels(found, given["adain_u8"], most=2)
    assert run(["upscale", str(path), "photo.png", "-o", "out.png", "--prompt", "a cat"]) == 2
    assert "export without --prompt" in capsys.readouterr().err


@pytest.mark.slow
def test_half_precision_is_exported_and_near(exported) -> None:
    given = case("final-mean")
    path = exported("half", "--precision", "fp16")
    manifest = open_bundle(path).manifest
    assert all("fp16" in variants for variants in manifest.graphs.values())
    with Restorer.open(path, precision="fp16", threads=1) as half:
        found = half.restore(given["lr_u8"], color_fix="none", **options(given))
    apart = np.abs(found.astype(int) - given["image_u8"])
    assert apart.max() <= 1  # the original's own half precision: one apart on 10 to 12 % of the values
    assert (apart > 0).mean() <= 0.15


def test_half_matches_are_refused(tmp_path, capsys) -> None:
    stored = torch.load(DATA / "osediff.pkl", weights_only=True)
    del stored["state_dict_unet"][next(key for key in stored["state_dict_unet"] if "lora_B" in key)]
    torch.save(stored, tmp_path / "half.pkl")
    words = ["export", "osediff", str(tmp_path / "half.pkl"), "-o", str(tmp_path / "out")]
    assert run(words) == 2
    assert "--base" in capsys.readouterr().err
    assert run([*words, "--base", str(DATA / "base")]) == 2
    assert "lora_B" in capsys.readouterr().err
    assert run([*words, "--base", str(DATA / "base"), "--ram", "ram.pth"]) == 2
    assert "--dape" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
