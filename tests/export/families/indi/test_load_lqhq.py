"""lqhq's own folder: config.json and model.safetensors."""

from __future__ import annotations

import pytest
import torch

from lqhq.export.families import FAMILIES
from lqhq.export.load import load_model
from lqhq.runtime.errors import CheckpointError


def load(folder, **config):
    return load_model(FAMILIES[0], folder, config=config)


def test_the_folder_says_all(film):
    model = load(film())
    assert (model.format, model.recipe.scale, model.recipe.default_schedule, model.network.multiple) == (
        "lqhq",
        2,
        "fast",
        2,
    )
    assert model.network.module(torch.zeros(1, 3, 8, 6), torch.ones(1)).shape == (1, 3, 8, 6)
    assert model.network.preferred % 2 == 0
    assert not model.network.deviations


def test_the_reach_is_what_a_pixel_sees(film):
    """One pixel of the input moves results within `reach` and none beyond, and at the rim it does."""
    network = load(film()).network
    assert network.reach == (2 * 1 + 3) * 2 + 1
    x = torch.zeros(1, 3, 64, 64, requires_grad=True)
    network.module(x, torch.ones(1))[0, :, 32, 32].sum().backward()
    rows, columns = (x.grad[0].abs().sum(0) > 0).nonzero().T
    far = int(torch.stack([rows - 32, columns - 32]).abs().max())
    assert far <= network.reach
    assert far >= network.reach - 1


@pytest.mark.parametrize(
    "key", ["width", "blocks", "time_width", "fold", "network", "time_scale", "schedules", "resize"]
)
def test_every_key_is_needed(film, key):
    with pytest.raises(CheckpointError, match=key):
        load(film(**{key: None}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"width": 16}, "wrong shape"),
        ({"blocks": 2}, "missing: body.1"),
        ({"blocks": 0}, "unexpected"),
        ({"depth": 1}, "depth"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(film, change, words):
    with pytest.raises(CheckpointError, match=words):
        load(film(**change))


def test_a_config_file_may_add_but_not_contradict(film):
    assert load(film(), name="mine", fold=2).settings.name == "mine"
    with pytest.raises(CheckpointError, match="time_scale"):
        load(film("other"), time_scale=1000.0)
