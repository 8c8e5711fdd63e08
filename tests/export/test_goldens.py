"""What a bundle carries to check itself with."""

from __future__ import annotations

import numpy as np
import pytest

from lqhq.export.families import FAMILIES
from lqhq.export.goldens import role_cases, synthetic_image, write_goldens
from lqhq.export.load import load_model


def test_cases_cover_batches_shapes_and_times(film):
    cases = role_cases(load_model(FAMILIES[0], film()))
    assert {len(state) for state, _ in cases.values()} == {1, 3}
    assert any(state.shape[2] != state.shape[3] for state, _ in cases.values())
    assert all(len(t) == len(state) and t.min() > 0 and t.max() <= 1 for state, t in cases.values())
    again = role_cases(load_model(FAMILIES[0], film("again")))
    assert all(np.array_equal(cases[name][0], again[name][0]) for name in cases)


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
    write_goldens(load_model(FAMILIES[0], film(schedules=schedules)), tmp_path)
    with np.load(tmp_path / "goldens" / "image.npz") as data:
        assert str(data["schedule"]) == chosen
        assert data["hq"].shape == tuple(np.array(data["image"].shape) * (2, 2, 1))
        assert ("step" in data.files) == (chosen == "noisy")
    assert sum(file.stat().st_size for file in (tmp_path / "goldens").iterdir()) < 400_000
