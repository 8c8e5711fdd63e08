"""The comparison with PyTorch must turn red on a wrong network, a wrong time, a wrong order of heads."""

from __future__ import annotations

import numpy as np
import pytest

from lqhq.export.families import FAMILIES
from lqhq.export.load import load_model
from lqhq.export.validate import Photo, validate
from lqhq.runtime.bundle import open_bundle


@pytest.fixture
def film_model(exported):
    bundle = open_bundle(exported("film"))
    folder = exported("film").parent / "film-checkpoint"
    return load_model(FAMILIES[0], folder, config=bundle.manifest.provenance.config), bundle


def test_it_passes_on_what_was_exported(film_model):
    model, bundle = film_model
    image = np.random.default_rng(6).integers(0, 256, (301, 40, 3), dtype=np.uint8)
    report = validate(model.recipe, bundle, photos={"photo.png": Photo(image)}, threads=1)
    assert report.passed, report.table()
    assert {case.what for case in report.cases} == {"denoise", "trajectory", "image"}
    assert any(case.case == "photo.png 256x40, fast" for case in report.cases)
    shapes = [case.case.split(",")[0] for case in report.cases if case.what == "denoise"]
    assert {shape.split("x")[0] for shape in shapes} == {"1", "3"}


def test_a_wrong_time_scale_is_seen(film_model, recipe_of):
    model, bundle = film_model
    wrong = recipe_of(model, time_scale=1.5)
    report = validate(wrong, bundle, threads=1)
    assert not report.passed
    assert not any(case.passed for case in report.cases if case.what == "denoise")


def test_a_wrong_filter_is_seen_in_the_finished_image_only(film_model, recipe_of):
    model, bundle = film_model
    wrong = recipe_of(model, resize="bicubic_075")
    report = validate(wrong, bundle, threads=1)
    assert {case.what for case in report.cases if not case.passed} == {"trajectory", "image"}


@pytest.fixture
def guided(exported):
    return open_bundle(exported("f_guided"))


def test_swapped_heads_are_seen(golden_model, guided):
    """Attention's heads in the other order: the same shapes, another network."""
    model = golden_model("f_guided", schedules={"five": {"steps": 5, "noise": "none"}}, use_new_attention_order=True)
    report = validate(model.recipe, guided, threads=1)
    assert not report.passed
