"""What a DiffIR becomes: everything from its weights, and the goldens' images through the plain reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lqhq.export.families import diffir
from lqhq.export.families.diffir.recipe import OFFICIAL
from lqhq.export.family import Weights
from lqhq.export.load import load_model
from lqhq.export.reference import draw_noise, reference_image
from lqhq.export.settings import Sampling, Settings, TileSettings
from lqhq.runtime.errors import CheckpointError, OptionError
from lqhq.runtime.geometry import Size
from lqhq.runtime.manifest import Composite, Crop, Licence, MaskOut, Pad, Pixels, Quantize

DATA = Path(__file__).parents[3] / "data"
GOLDENS = {name: DATA / f"diffir-{name}-tiny" / "net_g_latest.pth" for name in ("srx4", "srx2", "deblur")}
GOLDENS |= {"inpainting": DATA / "diffir-inpainting-tiny" / "last.ckpt"}
CASES = [(name, case.stem[-1]) for name, file in GOLDENS.items() for case in sorted(file.parent.glob("case-*.npz"))]


@pytest.fixture(scope="module")
def loaded():
    found = {}
    return lambda name: found.setdefault(name, load_model(diffir.FAMILY, GOLDENS[name]))


@pytest.fixture
def recipe(official):
    """`recipe(settings, **shape)` of a network with random weights."""

    def build(settings=None, **shape):
        tensors = official(**shape)[1]
        network = OFFICIAL.load(Weights(where="w.pth", tensors=tensors, config={}), {})
        return diffir.FAMILY.recipe(network, settings or Settings())

    return build


@pytest.mark.parametrize(
    ("shape", "task", "scale", "multiple"),
    [
        ({}, "super-resolution", 4, 8),
        ({"scale": 2}, "super-resolution", 2, 16),
        ({"scale": 1}, "restoration", 1, 32),
        ({"tail": False, "scale": 1, "residual": True}, "deblurring", 1, 8),
    ],
)
def test_the_weights_tell_all(recipe, shape, task, scale, multiple):
    found = recipe(**shape)
    assert (found.task, found.scale, found.factor, found.masked) == (task, scale, 1, False)
    assert found.prepare == (Pad(mode="reflect", multiple=multiple, smallest=multiple),)
    assert found.finish == (Crop(), Quantize(mode="round"))
    assert found.pixels == Pixels(range=(0.0, 1.0), order="rgb")
    assert (found.tiles.multiple, found.tiles.preferred, found.tiles.overlap) == (multiple, 256, 32)
    assert found.tiles.reach is None
    assert [graph.role for graph in found.graphs] == ["reduce", "encode", "decode"]
    assert not found.schedules
    assert found.default_schedule is None
    assert found.streams(None, Size(5, 7)) == {"prior": (256,)}
    assert draw_noise(found, None, Size(5, 7), seed=1)["prior"].shape == (256,)


def test_inpainting_takes_a_mask_and_truncates(recipe):
    found = recipe(channels=4, tail=False, scale=1)
    assert (found.task, found.masked, found.channels) == ("inpainting", True, 4)
    assert found.prepare == (MaskOut(), Pad(mode="symmetric", multiple=8, smallest=8))
    assert found.finish == (Crop(), Composite(), Quantize(mode="truncate"))


@pytest.mark.parametrize(
    ("shape", "blocks", "reach", "preferred"),
    [
        ({}, 9, 24, 256),  # 22 cells of one pixel
        ({"scale": 2}, 9, 48, 512),
        ({"scale": 1}, 9, 96, 1024),
        ({"tail": False, "scale": 1, "residual": True}, 5, 56, 1024),  # 14 cells of four pixels
        ({"scale": 1}, 40, 352, 1408),
    ],
)
def test_sums_are_tiled_as_far_as_cpen_looks(recipe, shape, blocks, reach, preferred):
    found = recipe(encoder_blocks=blocks, **shape).reduction
    assert (found.reach, found.preferred) == (reach, preferred)


@torch.no_grad()
def test_the_reach_is_the_networks_own(official):
    """A pixel just inside it changes a feature at the centre, one just outside does not."""
    network = official(scale=1, encoder_blocks=1)[0]
    lq = torch.zeros(1, 3, 64, 256)
    reach, centre = (2 + 4) * 4, 128
    before = network.condition.trunk(lq)[..., centre // 4]
    for distance, seen in ((reach, True), (reach + 1, False)):
        lq[..., centre - distance] = 100.0
        assert torch.equal(network.condition.trunk(lq)[..., centre // 4], before) is not seen
        lq[..., centre - distance] = 0.0


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (Settings(time_scale=1.0), "time_scale"),
        (Settings(schedules={"fast": Sampling(steps=1)}), "schedules"),
        (Settings(scale=4), "scale"),
        (Settings(resize="bicubic"), "resize"),
        (Settings(pixels=Pixels(range=(0.0, 1.0), order="rgb")), "pixels"),
        (Settings(quantize="round"), "quantize"),
        (Settings(eps=0.1), "eps"),
    ],
)
def test_what_the_weights_tell_is_not_taken_from_elsewhere(recipe, settings, key):
    with pytest.raises(OptionError, match=f"^{key}: .* the weights of a DiffIR tell"):
        recipe(settings)


def test_what_they_cannot_tell_is_taken(recipe):
    own = {"name": "mine", "licences": (Licence(part="base", licence="MIT"),), "task": "degradation"}
    found = recipe(Settings(tiles=TileSettings(preferred=128, overlap=32), **own))
    assert (found.task, found.tiles.preferred, found.tiles.overlap) == ("degradation", 128, 32)
    with pytest.raises(OptionError, match="multiple of 8"):
        recipe(Settings(tiles=TileSettings(preferred=100)))


def test_foreign_keys_of_a_config_are_refused(official):
    with pytest.raises(CheckpointError, match="keys num_blocks"):
        OFFICIAL.load(Weights(where="w", tensors=official()[1], config={}), {"num_blocks": [1, 1, 1, 1]})


def golden(name, case):
    """Samples one by one: image and mask in 8 bits, noise, and what the official code made of them."""
    data = np.load(GOLDENS[name].parent / f"case-{case}.npz")
    for at in range(len(data["image"])):
        levels = np.round(data["image"][at] * 255).astype(np.uint8)
        assert np.array_equal(levels.astype(np.float32) / 255, data["image"][at])
        mask = (data["mask"][at, 0] * 255).astype(np.uint8) if "mask" in data else None
        wanted = (np.moveaxis(data[key][at], 0, -1) for key in ("final", "final_u8"))
        yield np.moveaxis(levels, 0, -1), mask, {"prior": data["z_T"][at]}, *wanted


@pytest.mark.parametrize(("name", "case"), CASES)
def test_the_reference_finishes_the_golden_images(loaded, name, case):
    for image, mask, noise, final, levels in golden(name, case):
        found = reference_image(loaded(name).recipe, image, mask=mask, noise=noise)
        assert np.abs(found.raw - final).max() < 5e-5
        apart = np.abs(found.levels.astype(int) - levels)
        assert apart.max() <= 1
        assert (apart > 0).mean() <= 1e-3


def test_another_noise_and_another_padding_are_other_images(loaded):
    """The planted faults."""
    image, mask, noise, final, _ = next(golden("inpainting", "b"))
    recipe = loaded("inpainting").recipe
    other = reference_image(recipe, image, mask=mask, noise={"prior": -noise["prior"]})
    assert np.abs(other.raw - final).max() > 1e-2
    reflected = replace(recipe, prepare=(MaskOut(), Pad(mode="reflect", multiple=8, smallest=8)))
    assert np.abs(reference_image(reflected, image, mask=mask, noise=noise).raw - final).max() > 1e-2
