"""Replaying a bundle's own goldens, on the tiny bundle, without torch."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lqhq.runtime.bundle import Bundle, file_records, open_bundle, read_manifest, write_manifest
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.errors import BundleError, OptionError
from lqhq.runtime.onnx_file import read_onnx
from lqhq.runtime.precision import EMULATED, HEADROOM_DB, Plan
from lqhq.runtime.restorer import Restorer
from lqhq.runtime.selfcheck import replay


def with_goldens(bundle: Bundle, files: dict[str, dict[str, np.ndarray]], changes: dict[str, Any]) -> Path:
    """Write the arrays into the bundle's folder; `changes` replace some, None leaves one out."""
    folder = bundle.folder
    (folder / "goldens").mkdir()
    for name, arrays in files.items():
        kept = {key: changes.get(key.replace(".", "_"), array) for key, array in arrays.items()}
        kept = {key: array for key, array in kept.items() if array is not None}
        np.savez_compressed(folder / "goldens" / f"{name}.npz", **kept)
    write_manifest(folder, msgspec.structs.replace(bundle.manifest, files=file_records(folder)))
    return folder


@pytest.fixture
def checked(tiny_bundle):
    """A tiny bundle that carries goldens, made by itself; `changes` replaces arrays, None leaves one out."""

    def build(**changes) -> Path:
        folder = tiny_bundle(scale=2)
        bundle = open_bundle(folder, verified=None)
        draw = np.random.default_rng(8)
        state, t = draw.uniform(-1, 1, (3, 3, 8, 12)).astype(np.float32), np.float32([1, 0.5, 0.1])
        with OnnxSession(folder / "graphs" / "denoise.fp32.onnx", threads=1) as session:
            pred = session.run({"state": state, "t": t})["pred"]
        image = draw.integers(0, 256, (9, 7, 3), dtype=np.uint8)
        noise = {"start": draw.normal(size=(3, 18, 14)), "step": draw.normal(size=(3, 3, 18, 14))}
        noise = {name: array.astype(np.float32) for name, array in noise.items()}
        with Restorer.open(bundle) as restorer:
            hq = restorer.restore(image, schedule="noisy", noise=noise)
        role = {"a.state": state, "a.t": t, "a.pred": pred, "a.bound": np.array(2e-5)}
        finished = {"image": image, "hq": hq, "schedule": np.array("noisy"), "changed": np.array(1e-3), **noise}
        return with_goldens(bundle, {"denoise": role, "image": finished}, changes)

    return build


def test_a_sound_bundle_passes(checked):
    report = replay(open_bundle(checked()))
    assert report.passed
    assert [case.what for case in report.cases] == ["denoise", "image"]
    assert report.cases[1].case == "9x7, noisy"


def test_a_wrong_prediction_and_a_wrong_image_fail(checked):
    """The planted faults."""
    assert [case.passed for case in replay(open_bundle(checked(a_pred=np.zeros((3, 3, 8, 12), np.float32)))).cases] == [
        False,
        True,
    ]


def test_lost_noise_fails(checked):
    zeros = np.zeros((3, 3, 18, 14), np.float32)
    assert [case.passed for case in replay(open_bundle(checked(step=zeros))).cases] == [True, False]


def test_a_bundle_without_goldens_says_so(tiny_bundle):
    with pytest.raises(BundleError, match=r"goldens/denoise\.npz: found no such file.*--checkpoint"):
        replay(open_bundle(tiny_bundle()))


def test_goldens_that_lack_an_array_or_need_pickle_are_refused(checked):
    with pytest.raises(BundleError, match="no array 'hq'"):
        replay(open_bundle(checked(hq=None)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"changed": np.array(np.nan)}, "changed nan, which must be 0 to 0.05"),
        ({"changed": np.array(-0.1)}, "changed -0.1"),
        ({"changed": np.array(1.0)}, "changed 1.0"),
        ({"changed": np.array([1e-3])}, "'changed' of <f8 with 1 axes"),
        ({"changed": np.array("x")}, "'changed' of <U1"),
        ({"schedule": np.array("absent\x1b[2J")}, r"the schedule 'absent\\x1b\[2J'"),
        ({"image": np.zeros((9, 7, 3), np.float32)}, "'image' of <f4"),
        ({"a_state": np.zeros((3, 3, 8, 12))}, "'a.state' of <f8"),
        ({"a_pred": np.array("text")}, "'a.pred' of <U4 with 0 axes"),
        ({"a_state": None, "a_t": None, "a_pred": None, "a_bound": None}, "found no array;"),
        ({"a_bound": None}, "no array 'a.bound'"),
        ({"a_bound": np.array(1.0)}, "a bound of 1.0"),
        ({"a_bound": np.array(np.nan)}, "a bound of nan"),
        ({"a_t": np.ones(2, np.float32)}, r"'a.t' of shape \(2,\)"),
        ({"a_state": np.zeros((0, 3, 8, 12), np.float32)}, r"'a.state' of shape \(0, 3, 8, 12\)"),
        ({"a_pred": np.full((3, 3, 8, 12), np.nan, np.float32)}, "not finite"),
        ({"start": None}, "'start', 'step'\\] are needed"),
    ],
)
def test_goldens_of_another_kind_are_refused(checked, changes, words):
    """Also the least checks: with no case, or a share that lets everything pass, nothing would be proven."""
    with pytest.raises(BundleError, match=words):
        replay(open_bundle(checked(**changes)))


def test_pickled_goldens_are_refused(checked):
    with pytest.raises(BundleError, match=r"goldens/image\.npz"):
        replay(open_bundle(checked(hq=np.array([{"a": 1}], dtype=object))))


@pytest.fixture
def guided(guided_bundle):
    """A tiny guided bundle that fills holes, with goldens of its own making; `changes` as for `checked`."""

    def build(**changes) -> Path:
        folder = guided_bundle(masked=True)
        bundle, draw = open_bundle(folder, verified=None), np.random.default_rng(8)
        files: dict[str, dict[str, np.ndarray]] = {}
        for role, variants in bundle.manifest.graphs.items():
            sides = {"N": 3, "H": 8, "W": 12}
            feed = {
                name: draw.uniform(0, 1, [sides.get(axis, axis) for axis in tensor.shape]).astype(np.float32)
                for name, tensor in variants["fp32"].inputs.items()
            }
            with OnnxSession(bundle.path(variants["fp32"].file), threads=1) as session:
                files[role] = {f"a.{name}": array for name, array in (feed | session.run(feed)).items()}
            files[role]["a.bound"] = np.array(2e-5)
        image, mask = draw.integers(0, 256, (9, 7, 3), dtype=np.uint8), np.zeros((9, 7), np.uint8)
        mask[2:6, 3:] = 255
        prior = draw.normal(size=4).astype(np.float32)
        with Restorer.open(bundle) as restorer:
            hq = restorer.restore(image, mask=mask, noise={"prior": prior})
        files["image"] = {"image": image, "hq": hq, "changed": np.array(1e-3), "mask": mask, "prior": prior}
        return with_goldens(bundle, files, changes)

    return build


def test_every_role_and_output_is_replayed_with_mask_and_noise(guided):
    report = replay(open_bundle(guided()), threads=1)
    assert report.passed
    assert [(case.what, case.case) for case in report.cases] == [
        ("reduce", "3x4x8x12, sums"),
        ("reduce", "3x4x8x12, count"),
        ("encode", "3x4"),
        ("decode", "3x4x8x12"),
        ("image", "9x7"),
    ]


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"a_sums": np.ones((3, 4), np.float32)}, [0]),
        ({"a_count": np.ones((3, 1), np.float32)}, [1]),
        ({"mask": np.full((9, 7), 255, np.uint8)}, [4]),
        ({"prior": np.zeros(4, np.float32)}, [4]),
    ],
)
def test_a_fault_in_any_of_them_fails(guided, changes, failed):
    """The planted faults."""
    report = replay(open_bundle(guided(**changes)), threads=1)
    assert [index for index, case in enumerate(report.cases) if not case.passed] == failed


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"mask": np.zeros((9, 7, 1), np.uint8)}, "'mask' of |u1 with 3 axes"),
        ({"prior": np.zeros((1, 4), np.float32)}, "'prior' of <f4 with 2 axes"),
        ({"a_cond": np.zeros((3, 4), np.float64)}, "'a.cond' of <f8"),
        ({"a_lq": np.zeros((3, 3, 8, 12), np.float32)}, r"'a.lq' of shape \(3, 3, 8, 12\)"),
        ({"a_noise": np.zeros((2, 4), np.float32)}, r"'a.noise' of shape \(2, 4\)"),
        ({"prior": None}, "'prior'\\] are needed"),
        ({"mask": None}, "'mask', 'prior'\\] are needed"),
        ({"prior": np.zeros(5, np.float32)}, "of another size"),
        ({"prior": np.full(4, np.nan, np.float32)}, "of another size"),
        ({"mask": np.zeros((7, 9), np.uint8)}, "of another size"),
    ],
)
def test_their_goldens_of_another_kind_are_refused(guided, changes, words):
    with pytest.raises(BundleError, match=words.replace("|", r"\|")):
        replay(open_bundle(guided(**changes)), threads=1)


def as_half(folder: Path, *, psnr: float | None = 60.0, plan: bool = True) -> Bundle:
    """The bundle with a graph called fp16, which is the float32 one again: what is bounded here is the replay."""
    bundle = open_bundle(folder)
    exact = bundle.manifest.graphs["denoise"]["fp32"]
    shutil.copy(folder / exact.file, folder / "graphs" / "denoise.fp16.onnx")
    weights: Any = read_onnx(folder / exact.file).weights
    made = Plan(weights=weights, layers={}, psnr=psnr) if plan else None
    half = msgspec.structs.replace(exact, file="graphs/denoise.fp16.onnx", plan=made)
    graphs = {"denoise": {"fp32": exact, "fp16": half}}
    write_manifest(folder, msgspec.structs.replace(bundle.manifest, graphs=graphs, files=file_records(folder)))
    return open_bundle(folder)


def test_half_precision_is_judged_by_what_export_found(checked):
    report = replay(as_half(checked()), precision="fp16", threads=1)
    assert report.passed
    assert (report.precision, report.how) == ("fp16", EMULATED)
    assert [(case.what, case.unit, case.tolerance) for case in report.cases] == [
        ("denoise", "dB", 60 - HEADROOM_DB),
        ("image", "dB", 50.0),
    ]


@pytest.mark.parametrize(("error", "passed"), [(1e-3, True), (1e-2, False)])
def test_it_may_err_by_as_much_and_no_more(checked, error, passed):
    """2 / 1e-3 are 66 dB, 2 / 1e-2 are 46; the bound is 54. In float32, neither would pass."""
    folder = checked()
    arrays = dict(np.load(folder / "goldens" / "denoise.npz"))
    arrays["a.pred"] = arrays["a.pred"] + np.float32(error)
    np.savez_compressed(folder / "goldens" / "denoise.npz", **arrays)
    write_manifest(folder, msgspec.structs.replace(read_manifest(folder), files=file_records(folder)))
    found = as_half(folder)
    assert [case.passed for case in replay(found, precision="fp16", threads=1).cases] == [passed, True]
    assert not replay(found, threads=1).cases[0].passed


def test_another_image_fails_in_half_precision(checked):
    """The planted fault: lost noise."""
    zeros = np.zeros((3, 3, 18, 14), np.float32)
    report = replay(as_half(checked(step=zeros)), precision="fp16", threads=1)
    assert [case.passed for case in report.cases] == [True, False]


@pytest.mark.parametrize("options", [{"psnr": None}, {"plan": False}])
def test_a_plan_without_what_was_measured_says_so(checked, options):
    with pytest.raises(BundleError, match=r"graphs\.denoise\.fp16\.plan: found no record.*Export the checkpoint again"):
        replay(as_half(checked(), **options), precision="fp16", threads=1)


def test_a_precision_that_the_bundle_has_not_is_refused(checked):
    with pytest.raises(OptionError, match="precision: found 'bf16'; expected one of fp16, fp32"):
        replay(as_half(checked()), precision="bf16", threads=1)
