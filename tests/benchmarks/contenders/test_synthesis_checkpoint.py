"""The checkpoints are the release's in size and format, and PyTorch's side runs the release's procedure on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from contenders.synthesis_checkpoint import SIZES, network, write_checkpoint
from contenders.synthesis_eager import NOMINAL, Synthesis, eager
from contenders.synthesis_lqhq import start_noise
from diffusers.models.unets.unet_2d import UNet2DModel
from measuring.scene import scene
from torch import Tensor

from lqhq.export.families.lq_ddpm.oracle import sample
from lqhq.export.families.lq_ddpm.scheduler_config import process_of
from lqhq.export.families.lq_ddpm.schedules import path_of
from lqhq.export.families.lq_ddpm.settings import plan
from lqhq.export.settings import Settings

# The released network's own, and what the page says of the small one.
PARAMETERS = {"FULL": 101_121_795, "SMALL": 1_902_947}
SIDE = 16
# diffusers' UniPC hands a tensor to NumPy in a way that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint"), "TINY")


@pytest.mark.parametrize("size", PARAMETERS)
def test_sizes(size: str) -> None:
    with torch.device("meta"):
        module = UNet2DModel(**SIZES[size])
    assert sum(parameter.numel() for parameter in module.parameters()) == PARAMETERS[size]


def test_the_scheduler_is_the_releases(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    assert {key: config[key] for key in ("beta_schedule", "beta_start", "beta_end", "prediction_type")} == {
        "beta_schedule": "linear",
        "beta_start": 1e-4,
        "beta_end": 0.02,
        "prediction_type": "epsilon",
    }
    assert (config["timestep_spacing"], config["num_train_timesteps"]) == ("leading", 1000)


def _by_formulas(checkpoint: Path, image: np.ndarray, steps: int) -> np.ndarray:
    """The export's own formulas of UniPC, step by step, with the network in PyTorch."""
    config = json.loads((checkpoint / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    process = process_of("scheduler", config, 3)
    decided = plan(process, Settings(steps=NOMINAL))
    unet = network("TINY")

    def call(state: Tensor, t: Tensor) -> tuple[Tensor, None]:
        return unet(state, t).sample, None

    x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1
    path = path_of(process, decided, steps)
    y = sample(call, x, path, process, decided, {"start": start_noise(SIDE)})[0].numpy()
    return np.rint(np.clip((y + 1) * 127.5, 0, 255)).transpose(1, 2, 0)


def test_eager_is_the_released_procedure(checkpoint: Path) -> None:
    """The planted fault: one step less is another image."""
    entry = eager(str(checkpoint), SIDE, 3, 1)
    assert entry.answer is not None
    found = entry.answer().astype(int)
    image = scene(SIDE, SIDE)
    assert found.shape == (SIDE, SIDE, 3)
    assert np.abs(found - _by_formulas(checkpoint, image, 3)).max() <= 1
    assert np.abs(found - _by_formulas(checkpoint, image, 2)).max() > 1


def test_eager_draws_its_own_noise_where_none_is_given(checkpoint: Path) -> None:
    synthesis = Synthesis(str(checkpoint))
    image = scene(SIDE, SIDE)
    assert np.any(synthesis(image, 2) != synthesis(image, 2))
