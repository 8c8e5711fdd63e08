"""The oracle itself: enlarging as stored, padding, quantising; it must not share the runtime's mistakes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lqhq.export import reference
from lqhq.export.families import FAMILIES
from lqhq.export.load import load_model
from lqhq.export.reference import draw_noise, reference_image
from lqhq.runtime.manifest import Pixels

PREP = Path(__file__).parent.parent / "data" / "indi-tiny" / "sr_x4_prep.npz"


class Same(torch.nn.Module):
    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return x * self.gain


@pytest.fixture
def same(film):
    """A model whose network gives back its input, so that only preparing and finishing are seen."""

    def build(name: str = "film", **config):
        model = load_model(FAMILIES[0], film(name, **config))
        return replace(model, network=replace(model.network, module=Same()))

    return build


@pytest.mark.parametrize(
    ("resize", "array"), [("bicubic", "up_torch_bicubic_antialias"), ("bicubic_075", "up_torch_bicubic")]
)
def test_enlarging_is_the_stored_one(same, resize, array):
    data = np.load(PREP)
    image = np.moveaxis(data["lr_u8"], 0, -1)
    unit = reference_image(same(scale=4, resize=resize), image, "fast", {}).unit
    wanted = np.moveaxis(data[array], 0, -1)
    wanted = wanted / 255 if wanted.max() > 2 else (wanted + 1) / 2 if wanted.min() < -0.5 else wanted
    assert np.abs(unit - wanted.clip(0, 1)).max() < 1e-5


def test_the_two_filters_differ(same):
    image = np.moveaxis(np.load(PREP)["lr_u8"], 0, -1)
    one, two = (
        reference_image(same(name, scale=4, resize=name), image, "fast", {}).unit for name in ("bicubic", "bicubic_075")
    )
    assert np.abs(one - two).max() > 1e-2


def test_quantising(same):
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    kept = reference_image(same(scale=None, resize=None), image, "fast", {}).levels
    assert np.array_equal(kept, image)
    cut = reference_image(same("cut", scale=None, resize=None, quantize="truncate"), image, "fast", {})
    assert np.array_equal(cut.levels, np.floor(cut.unit * np.float32(255)).astype(np.uint8))


def test_channel_order_and_range_leave_an_identity_alone(same):
    image = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    model = same(scale=None, resize=None, pixels={"range": [0.0, 1.0], "order": "bgr"})
    assert model.settings.pixels == Pixels(range=(0.0, 1.0), order="bgr")
    assert np.array_equal(reference_image(model, image, "fast", {}).levels, image)


def test_the_largest_value_is_taken_before_the_clamp(same):
    model = same(scale=None, resize=None)
    model = replace(model, network=replace(model.network, module=Same(5.0)))
    found = reference_image(model, np.zeros((2, 2, 3), np.uint8), "fast", {})
    assert found.largest == 5.0
    assert found.unit.max() == 0.0


@pytest.mark.parametrize(("length", "target"), [(1, 4), (2, 9), (3, 8), (5, 8), (8, 8)])
def test_padding_mirrors_without_repeating_the_edge(length, target):
    line = torch.arange(length, dtype=torch.float32).reshape(1, 1, 1, length)
    found = reference._padded(line, 1, target)[0, 0, 0].tolist()
    wanted = np.pad(np.arange(length), (0, target - length), mode="reflect") if length > 1 else np.zeros(target)
    assert found == wanted.tolist()


def test_noise_is_drawn_for_stochastic_schedules_only(film):
    schedules = {"fast": {"steps": 1}, "soft": {"grid": [1.0, 0.4, 0.0], "noise": "brownian", "eps": 0.1}}
    model = load_model(FAMILIES[0], film(schedules=schedules))
    assert draw_noise(model, "fast", 4, 6, seed=1) == {}
    noise = draw_noise(model, "soft", 4, 6, seed=1)
    assert {name: array.shape for name, array in noise.items()} == {"start": (3, 4, 6), "step": (2, 3, 4, 6)}
    assert np.array_equal(noise["step"], draw_noise(model, "soft", 4, 6, seed=1)["step"])
