"""Golden networks through the command line: forwards and trajectories, with the stored noise, from the bundles."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file

from lqhq.kernels.schedule_step import schedule_step
from lqhq.runtime.bundle import Bundle, open_bundle
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.row_step import row_coefficients
from lqhq.runtime.schedule import Schedule
from lqhq.runtime.selfcheck import replay
from lqhq.tools.cli.main import run

DATA = Path(__file__).parents[2] / "data"
DIFFUSERS, GUIDED = DATA / "lq_ddpm-diffusers-tiny", DATA / "lq_ddpm-guided-tiny"
WEIGHTS = "diffusion_pytorch_model.safetensors"
FLAGS = ("--config", str(GUIDED / "learned.flags.json"))
# Name to checkpoint, flags, golden trajectory and its number of calls.
CASES: dict[str, tuple[Path, tuple[str, ...], Path, int]] = {
    "unipc": (
        DIFFUSERS / "pipeline",
        ("--spacing", "linspace"),
        DIFFUSERS / "unipc_50_s0.25_linspace_sigma_min.npz",
        12,
    ),
    "ddim": (
        DIFFUSERS / "pipeline",
        ("--sampler", "ddim", "--steps", "10", "--max-strength", "0.5"),
        DIFFUSERS / "ddim_10_s0.5_eta0.npz",
        5,
    ),
    "learned": (
        GUIDED / "learned.pt",
        (*FLAGS, "--sampler", "ddim", "--respacing", "20", "--eta", "0.7", "--max-strength", "0.3"),
        GUIDED / "learned.traj_ddim_20_i5_eta0.7.npz",
        6,
    ),
    "no-clip": (
        GUIDED / "learned.pt",
        ("--config", "NOCLIP", "--respacing", "10", "--max-strength", "0.5"),
        GUIDED / "learned.traj_ddpm_10_i4_noclip.npz",
        5,
    ),
}
SLOW = ("ddim", "no-clip")
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in CASES]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Bundle]:
    """`bundle(name)` is that case's, exported once."""
    root, done = tmp_path_factory.mktemp("bundles"), {}
    flags = json.loads((GUIDED / "learned.flags.json").read_text()) | {"clip_denoised": False}
    (root / "flags.json").write_text(json.dumps(flags))

    def made(name: str) -> Bundle:
        if name not in done:
            checkpoint, words, _, _ = CASES[name]
            words = tuple(str(root / "flags.json") if word == "NOCLIP" else word for word in words)
            assert run(["export", "lq-ddpm", str(checkpoint), "-o", str(root / name), *words]) == 0
            done[name] = open_bundle(root / name)
        return done[name]

    return made


@pytest.fixture(autouse=True)
def _exported_before(request: pytest.FixtureRequest, bundle: Callable[[str], Bundle]) -> None:
    """Exports take longer than a test may; they belong to the set-up."""
    name = getattr(request.node, "callspec", None) and request.node.callspec.params.get("name")
    if name:
        bundle(name)


def session_of(bundle: Bundle) -> OnnxSession:
    return OnnxSession(bundle.path(bundle.manifest.graphs["denoise"]["fp32"].file), threads=1)


def finished(bundle: Bundle, schedule: Schedule, data: dict[str, np.ndarray]) -> np.ndarray:
    """The bundle's rows and its graph, with the stored noise."""
    start = schedule.start
    state = (start.c_img * data["x_start"] + start.c_noise * data["q_noise"]).astype(np.float32)
    assert np.abs(state - data["x_t0"]).max() < 1e-6
    history: list[np.ndarray] = []
    with session_of(bundle) as session:
        for index, row in enumerate(schedule.rows):
            found = session.run({"state": state, "t": np.full(len(state), row.t, np.float32)})
            coefficients = np.repeat(row_coefficients(row, len(history))[None], len(state), 0)
            drawn = data["step_noise"][index] if row.noisy else None
            var = found["var"] if row.log_sigma is not None else None
            state, v = schedule_step(state, found["pred"], history, coefficients, drawn, var)
            history = [v, *history][: schedule.depth]
    return state


@pytest.mark.parametrize("name", NAMES)
def test_trajectories(bundle: Callable[[str], Bundle], name: str) -> None:
    _, _, file, calls = CASES[name]
    one, data = bundle(name), dict(np.load(file))
    synthesis = one.manifest.synthesis
    assert synthesis is not None
    schedule = one.manifest.schedules[synthesis.schedules[calls - 1]]
    times = data["timesteps"] if "timesteps" in data else data["model_t"]
    np.testing.assert_array_equal([row.t for row in schedule.rows], times)
    assert np.abs(finished(one, schedule, data) - data["final"]).max() < 1e-4


def test_a_wrong_row_is_seen(bundle: Callable[[str], Bundle]) -> None:
    """The planted fault: a hundredth more of the first x0."""
    one, data = bundle("unipc"), dict(np.load(CASES["unipc"][2]))
    schedule = one.manifest.schedules["unipc-12"]
    first = schedule.rows[0]
    wrong = replace(schedule, rows=(replace(first, c=(first.c[0] + 1e-2,)), *schedule.rows[1:]))
    assert np.abs(finished(one, wrong, data) - data["final"]).max() > 1e-4


@pytest.mark.parametrize(
    ("name", "file"), [("unipc", DIFFUSERS / "forward.npz"), ("learned", GUIDED / "learned.forward.npz")]
)
def test_forwards(bundle: Callable[[str], Bundle], name: str, file: Path) -> None:
    data = np.load(file)
    oblong = data["t_rect"] if "t_rect" in data else data["t"]
    with session_of(bundle(name)) as session:

        def called(x: np.ndarray, t: np.ndarray) -> np.ndarray:
            found = session.run({"state": x, "t": np.broadcast_to(t, len(x)).astype(np.float32)})
            return np.concatenate([found[key] for key in ("pred", "var") if key in found], axis=1)

        cases = [(data["x"], t, out) for t, out in zip(data["t"], data["out"], strict=True)]
        cases += [(data["x_rect"], t, out) for t, out in zip(oblong, data["out_rect"], strict=True)]
        cases.append((data["x"], data["t_frac"], data["out_frac"]))
        for x, t, wanted in cases:
            assert np.abs(called(x, t) - wanted).max() < 2e-5


def test_the_manifest_says_how_it_is_started(bundle: Callable[[str], Bundle]) -> None:
    manifest = bundle("unipc").manifest
    assert manifest.synthesis is not None
    assert (manifest.synthesis.steps, manifest.synthesis.most) == (50, 0.25)
    assert list(manifest.synthesis.schedules) == [f"unipc-{n:02}" for n in range(1, 13)]
    assert (manifest.task, manifest.scale, manifest.pixels.order) == ("degradation", 1, "rgb")
    assert manifest.provenance.config["scheduler"]["timestep_spacing"] == "leading"
    assert {"scheduler_config.json", WEIGHTS} <= {source.name for source in manifest.provenance.sources}
    assert manifest.quantize.mode == "round"
    assert bundle("learned").manifest.quantize.mode == "truncate"
    assert list(bundle("learned").manifest.graphs["denoise"]["fp32"].outputs) == ["pred", "var"]


@pytest.mark.parametrize("name", ["unipc", "learned"])
def test_the_bundle_replays_its_goldens(bundle: Callable[[str], Bundle], name: str) -> None:
    report = replay(bundle(name), threads=1)
    assert report.passed, report.table()
    assert all(record.passed for record in bundle(name).manifest.parity)


def test_inspect_shows_how_a_strength_is_run(
    bundle: Callable[[str], Bundle], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", str(bundle("unipc").folder)]) == 0
    assert "S runs the last int(50 * S) steps: unipc-01 to unipc-12; at most 0.25" in capsys.readouterr().out


def test_models_of_other_families_take_none_of_its_flags(
    film: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["export", "indi", str(film()), "-o", str(tmp_path / "out"), "--sampler", "ddim"]) == 2
    assert "a model of indi takes no sampler" in capsys.readouterr().err


def test_a_training_s_folder_and_old_names_give_the_same_network(tmp_path: Path) -> None:
    """Two exports of the same weights, as a pipeline and as the 2023 training laid them out."""
    from lqhq.export.families import FAMILIES
    from lqhq.export.load import load_model

    (family,) = (one for one in FAMILIES if one.name == "lq-ddpm")
    source = DIFFUSERS / "pipeline" / "unet"
    for name in ("unet", "unet_ema"):
        (tmp_path / name).mkdir()
        config = json.loads((source / "config.json").read_text()) | ({"decay": 0.9999} if name == "unet_ema" else {})
        (tmp_path / name / "config.json").write_text(json.dumps(config))
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    tensors = load_file(source / WEIGHTS)
    for new, name in old.items():
        tensors = {key.replace(f".{new}.", f".{name}."): tensor for key, tensor in tensors.items()}
    torch.save({key: 0 * tensor for key, tensor in tensors.items()}, tmp_path / "unet" / "diffusion_pytorch_model.bin")
    torch.save(tensors, tmp_path / "unet_ema" / "diffusion_pytorch_model.bin")
    shutil.copytree(DIFFUSERS / "pipeline" / "scheduler", tmp_path / "scheduler")
    torch.manual_seed(0)
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([7.0])
    averaged, pipeline = load_model(family, tmp_path), load_model(family, DIFFUSERS / "pipeline")
    with torch.no_grad():
        assert torch.equal(averaged.network.module(x, t), pipeline.network.module(x, t))
    assert "averaged weights (EMA)" in averaged.notes[0]
    assert averaged.recipe.schedules == pipeline.recipe.schedules
