"""The flags that describe a checkpoint."""

from __future__ import annotations

import argparse
from importlib import util

import pytest

from lqhq.export.families import FAMILIES as DECLARED
from lqhq.export.settings import Sampling, Settings
from lqhq.runtime.errors import EngineError, OptionError
from lqhq.tools.cli.model_flags import FAMILIES, add_model_flags, family_of, require_torch, settings_of


def parsed(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_model_flags(parser)
    return parser.parse_args(argv)


def test_the_help_names_every_declared_family():
    assert tuple(family.name for family in DECLARED) == FAMILIES
    assert family_of("indi") is DECLARED[0]
    with pytest.raises(OptionError, match="indi"):
        family_of("gan")


def test_flags_become_settings():
    flags = ["--time-scale=1000", "--scale=4", "--resize=bicubic", "--name=mine"]
    flags += ["--schedule=fast=steps:1", "--schedule=soft=grid:1/0.5/0,noise:const,eps:0.1"]
    assert settings_of(parsed(*flags)) == Settings(
        time_scale=1000.0,
        scale=4,
        resize="bicubic",
        name="mine",
        schedules={"fast": Sampling(steps=1), "soft": Sampling(grid=(1, 0.5, 0), noise="const", eps=0.1)},
    )
    assert settings_of(parsed()) == Settings()


@pytest.mark.parametrize(
    "flags",
    [
        ["--time-scale=-1"],
        ["--time-scale=nan"],
        ["--scale=0"],
        ["--name=Not A Name"],
        ["--schedule=a=steps:0"],
        ["--schedule=a=steps:1", "--schedule=a=steps:2"],
        ["--schedule=a=steps:1,noise:pink"],
    ],
)
def test_wrong_values_are_option_errors(flags):
    with pytest.raises(OptionError):
        settings_of(parsed(*flags))


def test_a_machine_without_torch_is_told_what_to_install(monkeypatch):
    found = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda name: None if name == "torch" else found(name))
    with pytest.raises(EngineError, match=r"no torch.*pip install '.*\[export\]'"):
        require_torch()
