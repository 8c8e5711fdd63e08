"""Options are those of `Restorer.restore`, by name and default."""

from __future__ import annotations

import inspect
from dataclasses import fields

from lqhq.runtime.manifest import Manifest
from lqhq.runtime.restorer import Restorer
from lqhq.server.v2.options import Options, options_of

# The server's own: budget, folder; what only a program can give; what no release reads.
NOT_A_CALLERS = {"self", "image", "mask", "noise", "memory", "scratch", "progress", "cancel", "strength"}


def test_names_and_defaults_are_those_of_restore() -> None:
    taken = inspect.signature(Restorer.restore).parameters
    expected = {name: taken[name].default for name in taken if name not in NOT_A_CALLERS}
    assert Options().arguments() == expected


def test_a_bundle_without_extras_takes_the_plain_ones(manifest: Manifest) -> None:
    assert options_of(manifest) == ("blend", "color_fix", "overlap", "schedule", "seed", "tile")


def test_a_guided_bundle_that_fills_holes(masked: Manifest) -> None:
    assert options_of(masked) == ("blend", "overlap", "prior", "seed", "tile")


def test_a_prompt_is_taken_where_one_is_read(prompted: Manifest) -> None:
    assert "prompt" in options_of(prompted)


def test_every_option_is_a_field(manifest: Manifest) -> None:
    assert set(options_of(manifest)) < {field.name for field in fields(Options)}
