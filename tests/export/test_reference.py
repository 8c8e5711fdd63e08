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
from lqhq.runtime.geometry import Size
from lqhq.runtime.manifest import Composite, Crop, MaskOut, Pad, Pixels, Quantize

PREP = Path(__file__).parent.parent / "data" / "indi-tiny" / "sr_x4_prep.npz"


class Same(torch.nn.Module):
    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return x * self.gain


@pytest.fixture
def same(film, recipe_of):
    """A recipe whose network gives back its input, so that only preparing and finishing are seen."""

    def build(name: str = "film", gain: float = 1.0, **config):
        return recipe_of(load_model(FAMILIES[0], film(name, **config)), Same(gain))

    return build


@pytest.mark.parametrize(
    ("resize", "array"), [("bicubic", "up_torch_bicubic_antialias"), ("bicubic_075", "up_torch_bicubic")]
)
def test_enlarging_is_the_stored_one(same, resize, array):
    data = np.load(PREP)
    image = np.moveaxis(data["lr_u8"], 0, -1)
    unit = reference_image(same(scale=4, resize=resize), image, schedule="fast", noise={}).unit
    wanted = np.moveaxis(data[array], 0, -1)
    wanted = wanted / 255 if wanted.max() > 2 else (wanted + 1) / 2 if wanted.min() < -0.5 else wanted
    assert np.abs(unit - wanted.clip(0, 1)).max() < 1e-5


def test_the_two_filters_differ(same):
    image = np.moveaxis(np.load(PREP)["lr_u8"], 0, -1)
    one, two = (
        reference_image(same(name, scale=4, resize=name), image, schedule="fast", noise={}).unit
        for name in ("bicubic", "bicubic_075")
    )
    assert np.abs(one - two).max() > 1e-2


def test_quantising(same):
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    kept = reference_image(same(scale=None, resize=None), image, schedule="fast", noise={}).levels
    assert np.array_equal(kept, image)
    cut = reference_image(same("cut", scale=None, resize=None, quantize="truncate"), image, schedule="fast", noise={})
    assert np.array_equal(cut.levels, np.floor(cut.unit * np.float32(255)).astype(np.uint8))


def test_channel_order_and_range_leave_an_identity_alone(same):
    image = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    recipe = same(scale=None, resize=None, pixels={"range": [0.0, 1.0], "order": "bgr"})
    assert recipe.pixels == Pixels(range=(0.0, 1.0), order="bgr")
    assert np.array_equal(reference_image(recipe, image, schedule="fast", noise={}).levels, image)


def test_the_largest_value_is_taken_before_the_clamp(same):
    recipe = same(scale=None, resize=None, gain=5.0)
    found = reference_image(recipe, np.zeros((2, 2, 3), np.uint8), schedule="fast", noise={})
    assert found.largest == 5.0
    assert found.unit.max() == 0.0


@pytest.mark.parametrize("mode", ["reflect", "symmetric", "edge"])
@pytest.mark.parametrize(("length", "target"), [(1, 4), (2, 9), (3, 8), (5, 8), (8, 8)])
def test_padding_continues_as_numpy_does(length, target, mode):
    line = torch.arange(length, dtype=torch.float32).reshape(1, 1, 1, length)
    found = reference._padded(line, Pad(mode=mode, multiple=1, smallest=target))[0, 0, 0].tolist()
    wanted = np.pad(np.arange(length), (0, target - length), mode=mode)
    assert found == wanted.tolist()


def test_a_hole_is_masked_out_and_the_rest_is_kept(same):
    """The network sees zeros and the hole; around it, the given pixels come back whatever it made of them."""
    seen = []

    def restore(prepared, schedule, noise, perturb):
        seen.append(prepared)
        return torch.full_like(prepared[:, :3], 0.5)

    steps = {"prepare": (MaskOut(), Pad(mode="symmetric", multiple=4, smallest=4))}
    steps |= {
        "finish": (Crop(), Composite(), Quantize(mode="truncate")),
        "pixels": Pixels(range=(0.0, 1.0), order="rgb"),
    }
    recipe = replace(same(scale=None, resize=None), restore=restore, **steps)
    image = np.random.default_rng(2).integers(1, 256, (3, 6, 3), dtype=np.uint8)
    mask = np.zeros((3, 6), np.uint8)
    mask[2, 1:3] = 1  # anything above zero
    found = reference_image(recipe, image, mask=mask, noise={})
    assert seen[0].shape == (1, 4, 4, 8)
    assert seen[0][0, 3, 2:].tolist() == [[0, 1, 1, 0, 0, 0, 0, 0]] * 2  # the last row once more
    assert not seen[0][0, :3, 3, 1:3].any()
    assert np.array_equal(found.levels[mask == 0], image[mask == 0])
    assert (found.levels[mask > 0] == 127).all()  # of 127.5, not rounded
    assert found.raw[2, 1].tolist() == [0.5] * 3


def test_noise_is_drawn_for_stochastic_schedules_only(film):
    schedules = {"fast": {"steps": 1}, "soft": {"grid": [1.0, 0.4, 0.0], "noise": "brownian", "eps": 0.1}}
    recipe = load_model(FAMILIES[0], film(schedules=schedules)).recipe
    assert draw_noise(recipe, "fast", Size(4, 6), seed=1) == {}
    noise = draw_noise(recipe, "soft", Size(4, 6), seed=1)
    assert {name: array.shape for name, array in noise.items()} == {"start": (3, 4, 6), "step": (2, 3, 4, 6)}
    assert np.array_equal(noise["step"], draw_noise(recipe, "soft", Size(4, 6), seed=1)["step"])
