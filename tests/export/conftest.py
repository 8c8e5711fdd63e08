"""Fixtures for the export suites: the golden networks, each exported once per session through the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import save_file

from lqhq.export.families.indi.film_resnet import FilmResNet
from lqhq.runtime import manifest as m
from lqhq.runtime.bundle import Bundle

DATA = Path(__file__).parent.parent / "data" / "indi-tiny"


@dataclass(frozen=True, kw_only=True)
class Golden:
    """A network of the golden set: where it is, what is told about it, and its stored trajectories by schedule."""

    form: str
    path: Path
    config: Path | None = None
    time_scale: float | None = None  # where the config file does not hold it
    trajectories: Mapping[str, str] = field(default_factory=dict)
    schedules: Mapping[str, str] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        return json.loads(self.config.read_text()) if self.config else {}

    def flags(self) -> list[str]:
        """What a user would type after `lqhq export indi CHECKPOINT`."""
        flags = [f"--schedule={name}={text}" for name, text in self.schedules.items()]
        flags += ["--config", str(self.config)] if self.config else []
        return flags + ([f"--time-scale={self.time_scale}"] if self.time_scale else [])


GOLDENS = {
    "f_diffusers": Golden(
        form="diffusers",
        path=DATA / "f_diffusers",
        time_scale=1.0,
        schedules={"soft": "steps:5,noise:brownian,eps:0.01"},
        trajectories={"soft": "brownian_N5_eps0.01"},
    ),
    "f_guided": Golden(
        form="guided",
        path=DATA / "f_guided.pt",
        config=DATA / "f_guided.flags.json",
        schedules={"five": "steps:5,noise:none", "soft": "steps:20,noise:brownian,eps:0.01"},
        trajectories={"five": "none_N5", "soft": "brownian_N20_eps0.01"},
    ),
    "f_sr3": Golden(
        form="sr3",
        path=DATA / "f_sr3_gen.pth",
        config=DATA / "f_sr3.config.json",
        schedules={
            "five": "steps:5,noise:const",  # eps and the clamp come from the file
            "soft": "steps:20,noise:brownian",
            "fresh": "steps:5,noise:renoise,eps:0.01",
        },
        trajectories={"five": "const_N5_eps0.01", "soft": "brownian_N20_eps0.01", "fresh": "renoise_N5_eps0.01"},
    ),
    "f_indiunet": Golden(
        form="indiunet",
        path=DATA / "f_indiunet.pt",
        config=DATA / "f_indiunet.config.json",
        schedules={"five": "steps:5,noise:none"},
        trajectories={"five": "none_N5"},
    ),
}


def write_film(folder: Path, *, seed: int = 0, **changes: Any) -> Path:
    """A tiny checkpoint of lqhq's own format, x2, random weights; `changes` go into its config.json."""
    shape = {"width": 8, "blocks": 1, "time_width": 8, "fold": 2}
    torch.manual_seed(seed)
    network = FilmResNet(**shape)
    config = {"format": "lqhq-indi", "network": "film_resnet", **shape}
    config |= {"time_scale": 1.0, "scale": 2, "resize": "bicubic", "schedules": {"fast": {"steps": 1}}}
    folder.mkdir(parents=True)
    kept = {key: value for key, value in (config | changes).items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))
    save_file(
        {name: tensor.contiguous() for name, tensor in network.state_dict().items()}, folder / "model.safetensors"
    )
    return folder


@pytest.fixture(scope="session")
def goldens() -> Mapping[str, Golden]:
    return GOLDENS


@pytest.fixture
def film(tmp_path: Path) -> Callable[..., Path]:
    """`film(seed=0, **config)` writes a tiny checkpoint of lqhq's own format and returns its folder."""
    return lambda name="film", **changes: write_film(tmp_path / name, **changes)


@pytest.fixture
def golden_model(goldens: Mapping[str, Golden]) -> Callable[..., Any]:
    """`golden_model(name, **config)` loads a golden network, `config` replacing what is told about it."""
    from lqhq.export.families import FAMILIES
    from lqhq.export.load import load_model
    from lqhq.export.settings import Sampling, Settings

    def load(name: str, *, path: Path | None = None, form: str | None = None, **changes: Any) -> Any:
        golden = goldens[name]
        config = {**golden.told(), **changes}
        config = {key: value for key, value in config.items() if value != "absent"}
        flags = Settings(time_scale=golden.time_scale, schedules={"five": Sampling(steps=5, noise="none")})
        return load_model(FAMILIES[0], path or golden.path, form=form, config=config, flags=flags)

    return load


@pytest.fixture
def recipe_of() -> Callable[..., Any]:
    """`recipe_of(model, module=None, **settings)`: the recipe anew, for another module or with other settings."""

    def build(model: Any, module: Any = None, **settings: Any) -> Any:
        network = model.network if module is None else replace(model.network, module=module)
        return model.family.recipe(network, msgspec.structs.replace(model.settings, **settings))

    return build


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tests share the machine; the networks are tiny."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from a golden's name, "film" or "film-half" (all precisions), to its bundle, exported once."""
    from lqhq.tools.cli.main import run

    root = tmp_path_factory.mktemp("bundles")
    film = root / "film-checkpoint"
    done: dict[str, Path] = {}

    def bundle(name: str) -> Path:
        if name not in done:
            target = root / name
            if name == "film":
                arguments = [str(write_film(film)), "--schedule=soft=steps:2,noise:const,eps:0.01"]
            elif name == "film-half":
                arguments = [str(write_film(root / "film-half-checkpoint")), "--precision=fp16,bf16"]
            else:
                arguments = [str(GOLDENS[name].path), *GOLDENS[name].flags()]
            assert run(["export", "indi", *arguments, "-o", str(target)]) == 0
            done[name] = target
        return done[name]

    return bundle


@pytest.fixture
def untraced(tmp_path: Path) -> Callable[[Any], Bundle]:
    """`untraced(recipe)`: a bundle with its manifest but without graphs, for what only runs PyTorch."""

    def build(recipe: Any) -> Bundle:
        graphs = {
            graph.role: {
                "fp32": m.Graph(
                    file=f"graphs/{graph.role}.fp32.onnx",
                    inputs=dict(graph.inputs),
                    outputs=dict(graph.outputs),
                    pred=graph.pred,
                    memory=m.Memory(fixed=1, per_pixel=1.0),
                )
            }
            for graph in recipe.graphs
        }
        kept = ("task", "scale", "pixels", "prepare", "finish", "tiles", "reduction", "default_schedule")
        manifest = m.Manifest(
            name="untraced",
            family="test",
            graphs=graphs,
            schedules=dict(recipe.schedules),
            licences=(m.Licence(part="base", licence="unknown"),),
            provenance=m.Provenance(
                sources=(m.SourceFile(name="none", sha256="ab" * 32, bytes=1),), format="test", versions={"onnx": "1"}
            ),
            parity=(),
            files={f"graphs/{role}.fp32.onnx": m.FileRecord(sha256="ab" * 32, bytes=1) for role in graphs},
            **{name: getattr(recipe, name) for name in kept},
        )
        return Bundle(tmp_path, manifest)

    return build
