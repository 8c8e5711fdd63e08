"""Degradations by name and from files; the files' own faults are in `test_override.py`."""

from __future__ import annotations

import msgspec
import pytest

from lqhq.runtime.degrade.presets import MILD, NAMES, REAL_ESRGAN, Plain, load_degradation
from lqhq.runtime.degrade.second_order import Kinds, SecondOrder
from lqhq.runtime.degrade.shuffled import Shuffled
from lqhq.runtime.errors import OptionError


def test_names():
    assert NAMES == ("mild", "real-esrgan", "bsrgan", "none")
    assert [type(load_degradation(name)) for name in NAMES] == [SecondOrder, SecondOrder, Shuffled, Plain]


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_keeps_its_own_rules(name):
    """Constructing does not check bounds, converting does."""
    preset = load_degradation(name)
    assert msgspec.convert(msgspec.to_builtins(preset), type(preset)) == preset


def test_the_mild_preset_differs_where_it_says():
    def flat(value, at=""):
        if not isinstance(value, dict):
            return {at: value}
        return {path: leaf for key, inner in value.items() for path, leaf in flat(inner, f"{at}.{key}").items()}

    mild, strong = flat(msgspec.to_builtins(MILD)), flat(msgspec.to_builtins(REAL_ESRGAN))
    assert {path.lstrip(".") for path in mild if mild[path] != strong[path]} == {
        "sharpen.weight",
        "first.resize.down_factor",
        "first.noise.sigma",
        "first.noise.scale",
        "first.jpeg",
        "second.blur.probability",
        "second.resize.down_factor",
        "second.noise.sigma",
        "second.noise.scale",
        "second.jpeg",
    }


def test_a_file_overrides_what_it_names(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(
        'base = "mild"\njpeg_last = 1\nfirst.jpeg = [20, 40]\n'
        "[first.blur.kinds]\niso = 0.2\naniso = 0.5\n[second.noise]\ngray = 0.0\n"
    )
    found = load_degradation(str(path))
    assert isinstance(found, SecondOrder)
    assert (found.jpeg_last, found.first.jpeg, found.second.noise.gray) == (1.0, (20, 40), 0.0)
    assert found.first.blur.kinds == Kinds(iso=0.2, aniso=0.5)
    assert found.second.blur == MILD.second.blur
    assert found.second.noise.sigma == MILD.second.noise.sigma


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_nothing_but_a_base_is_that_base(tmp_path, name):
    path = tmp_path / "same.toml"
    path.write_text(f'base = "{name}"')
    assert load_degradation(str(path)) == load_degradation(name)


@pytest.mark.parametrize("name", ["", "Mild", "own.yaml", "x" * 5000])
def test_unknown_names_are_refused(name):
    with pytest.raises(OptionError, match="expected mild, real-esrgan, bsrgan, none, or a path") as caught:
        load_degradation(name)
    assert len(str(caught.value)) < 500
