"""What a bundle carries to check itself with."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lqhq.export.families import FAMILIES
from lqhq.export.family import RoleGraph
from lqhq.export.goldens import role_cases, synthetic_image, synthetic_mask, write_goldens
from lqhq.export.load import load_model
from lqhq.runtime.manifest import Tensor


def test_cases_cover_batches_shapes_and_times(film):
    cases = role_cases(load_model(FAMILIES[0], film()).recipe.graphs[0])
    states, times = ([feed[name] for feed in cases.values()] for name in ("state", "t"))
    assert {len(state) for state in states} == {1, 3}
    assert any(state.shape[2] != state.shape[3] for state in states)
    assert all(len(t) == len(state) and t.min() > 0 for state, t in zip(states, times, strict=True))
    assert max(t.max() for t in times) == 1.0
    again = role_cases(load_model(FAMILIES[0], film("again")).recipe.graphs[0])
    assert all(np.array_equal(cases[name]["state"], again[name]["state"]) for name in cases)


def test_a_role_without_images_has_no_shapes_to_vary():
    vector = Tensor(dtype="float32", shape=("N", 4), per="image")
    graph = RoleGraph(
        role="encode",
        module=torch.nn.Identity(),
        plain=torch.nn.Identity(),
        inputs={"pooled": vector},
        outputs={"cond": vector},
        examples=lambda draw, n, height, width: {"pooled": draw.normal(size=(n, 4)).astype(np.float32)},
    )
    assert [feed["pooled"].shape for feed in role_cases(graph).values()] == [(1, 4), (3, 4)]


def test_the_hole_is_a_part_of_the_image_with_an_edge_at_the_border():
    mask = synthetic_mask(25, 31)
    assert set(np.unique(mask)) == {0, 255}
    assert 0.1 < (mask > 0).mean() < 0.5
    assert mask[-1].any()
    assert not mask[0].all()


def test_the_picture_has_three_different_channels_and_the_asked_size():
    image = synthetic_image(13, 7)
    assert image.shape == (13, 7, 3)
    assert np.abs(image[..., 0].astype(int) - image[..., 1]).mean() > 10


@pytest.mark.parametrize(
    ("schedules", "chosen"),
    [
        ({"slow": {"steps": 20}}, "slow"),
        ({"noisy": {"steps": 8, "noise": "renoise", "eps": 0.1}, "fast": {"steps": 1}}, "noisy"),
        ({"noisy": {"steps": 9, "noise": "renoise", "eps": 0.1}, "fast": {"steps": 1}}, "fast"),
    ],
)
def test_the_stored_image_keeps_its_noise_and_stays_small(film, tmp_path, schedules, chosen):
    write_goldens(load_model(FAMILIES[0], film(schedules=schedules)).recipe, tmp_path)
    with np.load(tmp_path / "goldens" / "image.npz") as data:
        assert str(data["schedule"]) == chosen
        assert data["hq"].shape == tuple(np.array(data["image"].shape) * (2, 2, 1))
        assert ("step" in data.files) == (chosen == "noisy")
    assert sum(file.stat().st_size for file in (tmp_path / "goldens").iterdir()) < 400_000
