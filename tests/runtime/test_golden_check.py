"""Reference arrays that belong together, and the noise of the finished image; both by themselves and in a replay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lqhq.runtime.bundle import file_records, open_bundle, read_manifest, write_manifest
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.errors import BundleError
from lqhq.runtime.golden_check import STREAMS, check_extras, check_shapes
from lqhq.runtime.manifest import Manifest, Tensor
from lqhq.runtime.restorer import Restorer
from lqhq.runtime.selfcheck import replay

Build = Callable[..., Path]
LATENT = {
    "lq": Tensor(dtype="float32", shape=("N", 3, "8H", "8W")),
    "noise": Tensor(dtype="float32", shape=("N", 4, "H", "W")),
    "ids": Tensor(dtype="int64", shape=("N", 77)),
}
SHAPES = {"lq": (2, 3, 24, 40), "noise": (2, 4, 3, 5), "ids": (2, 77)}


def arrays(**changes: tuple[int, ...]) -> dict[str, Any]:
    return {name: np.zeros(shape, LATENT[name].dtype) for name, shape in (SHAPES | changes).items()}


@pytest.mark.parametrize("order", [["lq", "noise", "ids"], ["ids", "noise", "lq"]])
def test_shapes_that_belong_together_pass(order: list[str]) -> None:
    check_shapes("f", "a", arrays(), {name: LATENT[name] for name in order})


@pytest.mark.parametrize("order", [["lq", "noise", "ids"], ["ids", "noise", "lq"]])
@pytest.mark.parametrize(
    "changes",
    [
        {"lq": (2, 3, 24, 48)},
        {"lq": (2, 3, 25, 40)},
        {"lq": (2, 3, 4, 40)},
        {"lq": (1, 3, 24, 40)},
        {"noise": (2, 4, 3, 4)},
        {"noise": (2, 5, 3, 5)},
        {"ids": (2, 76)},
        {"ids": (3, 77)},
        {"lq": (0, 3, 24, 40), "noise": (0, 4, 3, 5), "ids": (0, 77)},
    ],
)
def test_shapes_that_do_not_are_refused(order: list[str], changes: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match=r"f: found .*'a\.(lq|noise|ids)' of shape"):
        check_shapes("f", "a", arrays(**changes), {name: LATENT[name] for name in order})


def test_values_that_are_not_finite_are_refused() -> None:
    wrong = arrays()
    wrong["noise"][0, 0, 0, 0] = np.inf
    with pytest.raises(BundleError, match=r"'a\.noise' .*not finite"):
        check_shapes("f", "a", wrong, LATENT)


@pytest.fixture
def manifests(latent_bundle: Build, tiny_bundle: Build, guided_bundle: Build) -> dict[str, Manifest]:
    folders = {"latent": latent_bundle(), "tiny": tiny_bundle(), "guided": guided_bundle()}
    return {name: read_manifest(folder) for name, folder in folders.items()}


def found(*streams: str) -> dict[str, Any]:
    shapes = {"start": (3, 4, 4), "step": (1, 3, 4, 4), "prior": (3,), "posterior": (4, 2, 2)}
    return {"image": np.zeros((4, 4, 3), np.uint8), **{one: np.zeros(shapes[one], np.float32) for one in streams}}


@pytest.mark.parametrize(
    ("kind", "schedule", "streams"),
    [
        ("latent", "one-step", ()),
        ("latent", "one-step", ("posterior",)),
        ("latent", "one-step", ("start", "step", "posterior")),
        ("tiny", "fast", ()),
        ("tiny", "noisy", ("start", "step")),
        ("guided", None, ("prior",)),
    ],
)
def test_noise_that_is_needed_or_may_be_passes(manifests: Any, kind: str, schedule: Any, streams: Any) -> None:
    check_extras("f", manifests[kind], found(*streams), schedule)


@pytest.mark.parametrize(
    ("kind", "schedule", "streams"),
    [
        ("latent", "one-step", ("prior",)),
        ("latent", "one-step", ("posterior", "prior")),
        ("tiny", "fast", ("posterior",)),
        ("tiny", "noisy", ("start",)),
        ("guided", None, ()),
        ("guided", None, ("prior", "posterior")),
    ],
)
def test_foreign_or_missing_noise_is_refused(manifests: Any, kind: str, schedule: Any, streams: Any) -> None:
    """The planted faults."""
    with pytest.raises(BundleError, match="are needed"):
        check_extras("f", manifests[kind], found(*streams), schedule)


def test_every_stream_is_known() -> None:
    assert STREAMS == ("start", "step", "prior", "posterior")


@pytest.fixture
def carrying(latent_bundle: Build) -> Callable[..., Path]:
    """A latent bundle that carries goldens of its own making; `changes` replace arrays of the finished image."""

    def build(**changes: Any) -> Path:
        folder = latent_bundle(worded=True, tagged=True)
        bundle, draw = open_bundle(folder, verified=None), np.random.default_rng(8)
        (folder / "goldens").mkdir()
        sides = {"N": 2, "H": 4, "W": 6, "2H": 8, "2W": 12}
        for role, variants in bundle.manifest.graphs.items():
            feed = {
                name: draw.uniform(0, 700, [sides.get(axis, axis) for axis in tensor.shape]).astype(tensor.dtype)
                for name, tensor in variants["fp32"].inputs.items()
            }
            feed = {name: array if array.dtype == np.int64 else array / 700 for name, array in feed.items()}
            with OnnxSession(bundle.path(variants["fp32"].file), threads=1) as session:
                given = {f"a.{name}": array for name, array in (feed | session.run(feed)).items()}
            np.savez_compressed(folder / f"goldens/{role}.npz", **given, **{"a.bound": np.array(2e-5)})
        image = draw.integers(0, 256, (9, 7, 3), dtype=np.uint8)  # below the side that is enlarged: parity is bare
        posterior = draw.normal(size=(4, 9, 7)).astype(np.float32)
        with Restorer.open(bundle.bare(), threads=1) as restorer:
            hq = restorer.restore(image, noise={"posterior": posterior})
        finished = {"image": image, "hq": hq, "schedule": np.array("one-step"), "changed": np.array(1e-3)}
        finished |= {"posterior": posterior, **changes}
        np.savez_compressed(folder / "goldens/image.npz", **finished)
        write_manifest(folder, msgspec.structs.replace(bundle.manifest, files=file_records(folder)))
        return folder

    return build


def test_a_latent_bundle_replays_every_role_and_its_image(carrying: Callable[..., Path]) -> None:
    report = replay(open_bundle(carrying(), verified=None), threads=1)
    assert [case.what for case in report.cases] == ["encode", "denoise", "decode", "text", "tag", "image"]
    assert report.passed


def test_lost_noise_of_the_posterior_fails(carrying: Callable[..., Path]) -> None:
    """The planted fault: zeros would be the mean."""
    report = replay(open_bundle(carrying(posterior=np.zeros((4, 9, 7), np.float32)), verified=None), threads=1)
    assert [case.what for case in report.cases if not case.passed] == ["image"]


def test_noise_of_another_kind_is_refused(carrying: Callable[..., Path]) -> None:
    with pytest.raises(BundleError, match="'posterior' of <f8"):
        replay(open_bundle(carrying(posterior=np.zeros((4, 9, 7))), verified=None), threads=1)
