"""Options against what a bundle takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from lqhq.runtime.bundle import open_bundle, read_manifest
from lqhq.runtime.errors import OptionError
from lqhq.runtime.manifest import Crop, Manifest, Quantize
from lqhq.runtime.restore_options import blend_of, colour_of, foreign, prior_of, rules_of
from lqhq.runtime.restorer import Restorer


@pytest.fixture
def manifests(
    tiny_bundle: Callable[..., Path], guided_bundle: Callable[..., Path], latent_bundle: Callable[..., Path]
) -> dict[str, Manifest]:
    made = {
        "tiny": tiny_bundle(),
        "guided": guided_bundle(),
        "masked": guided_bundle("masked", masked=True),
        "latent": latent_bundle(),
    }
    return {name: read_manifest(folder) for name, folder in made.items()}


@pytest.mark.parametrize(
    ("check", "kind", "given", "found"),
    [
        (rules_of, "tiny", None, "default"),
        (rules_of, "tiny", "default", "default"),
        (rules_of, "latent", "original", "original"),
        (prior_of, "tiny", None, "image"),
        (prior_of, "guided", "tile", "tile"),
        (prior_of, "guided", "image", "image"),
        (colour_of, "latent", None, "adain"),
        (colour_of, "latent", "none", None),
        (colour_of, "latent", "wavelet", "wavelet"),
        (colour_of, "tiny", None, None),
        (colour_of, "tiny", "adain", "adain"),
        (colour_of, "masked", None, None),
        (colour_of, "masked", "none", None),
        (blend_of, "tiny", None, "final"),
        (blend_of, "tiny", "each", "each"),
        (blend_of, "guided", "final", "final"),
        (blend_of, "latent", None, "each"),
        (blend_of, "latent", "each", "each"),
    ],
)
def test_what_is_taken(manifests: Any, check: Any, kind: str, given: Any, found: Any) -> None:
    assert check(manifests[kind], given) == found


@pytest.mark.parametrize(
    ("check", "kind", "given", "message"),
    [
        (rules_of, "tiny", "original", "rules: found 'original'; expected none: 'tiny' takes no rules"),
        (rules_of, "latent", "ours", "rules: found 'ours'; expected 'default' or 'original'. Leave it out"),
        (rules_of, "latent", "", "rules: found ''"),
        (prior_of, "tiny", "image", "'tiny' takes no prior"),
        (prior_of, "latent", "tile", "'latent' takes no prior"),
        (prior_of, "guided", "each", "prior: found 'each'; expected 'image' or 'tile'"),
        (colour_of, "latent", "vivid", "color_fix: found 'vivid'; expected none, adain or wavelet. Leave it out"),
        (colour_of, "masked", "adain", "'guided' takes no color_fix"),
        (blend_of, "latent", "final", "blend: found 'final'; expected 'each': latents are blended"),
        (blend_of, "guided", "each", "blend: found 'each'; expected 'final': this bundle restores in one step"),
        (blend_of, "latent", "soft", "blend: found 'soft'; expected 'each' or 'final'"),
    ],
)
def test_what_is_refused(manifests: Any, check: Any, kind: str, given: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        check(manifests[kind], given)


def test_a_manifest_without_a_colour_fix_has_none(manifests: Any) -> None:
    """The planted fault: a default that is not the manifest's."""
    plain = msgspec.structs.replace(manifests["latent"], finish=(Crop(), Quantize(mode="round")))
    assert colour_of(plain, None) is None


def test_foreign_names_option_value_and_bundle(manifests: Any) -> None:
    error = foreign(manifests["tiny"], "strength", 0.5)
    assert str(error).startswith("strength: found 0.5; expected none: 'tiny' takes no strength.")
    assert "lqhq inspect" in str(error)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rules": "ours"}, "'default' or 'original'"),
        ({"blend": "final"}, "latents are blended"),
        ({"prior": "tile"}, "takes no prior"),
        ({"color_fix": "vivid"}, "adain or wavelet"),
        ({"schedule": "slow"}, "one of one-step"),
        ({"mask": np.zeros((9, 9), np.uint8)}, "takes no mask"),
        ({"prompt": "a cat"}, "fixed at export"),
        ({"tagger": True}, "a graph for tag"),
        ({"strength": 0.5}, "takes no strength"),
    ],
)
def test_restore_and_check_refuse_alike(latent_bundle: Callable[..., Path], options: Any, message: str) -> None:
    with Restorer.open(open_bundle(latent_bundle(), verified=None), threads=1) as restorer:
        with pytest.raises(OptionError, match=message):
            restorer.restore(np.zeros((9, 9, 3), np.uint8), **options)
        if "strength" in options:
            return
        named: dict[str, Any] = {"masked": "mask" in options, "schedule": None, "blend": None, "prior": None}
        named |= {name: value for name, value in options.items() if name != "mask"}
        with pytest.raises(OptionError, match=message):
            restorer.check(**named)
