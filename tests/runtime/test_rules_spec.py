"""Steps of a manifest that only some models have: what they may hold."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from lqhq.runtime.rules_spec import ColourStep, EnlargeSmall, Fit, OriginalRules, OriginalUpscale

STEPS = [{"op": "upscale", "factor": 4}, {"op": "fit", "multiple": 8}]
RULES = {"small": 128, "steps": STEPS}


def test_the_originals_rules_are_read_and_written_back() -> None:
    found = msgspec.convert(RULES, OriginalRules)
    assert found == OriginalRules(small=128, steps=(OriginalUpscale(factor=4), Fit(multiple=8)), window="gaussian")
    assert msgspec.json.decode(msgspec.json.encode(found), type=OriginalRules) == found


def test_steps_are_told_apart_by_their_op() -> None:
    raw = [{"op": "enlarge_small", "side": 128}, {"op": "colour_fix", "kind": "adain"}]
    steps = msgspec.convert(raw, list[EnlargeSmall | ColourStep])
    assert steps == [EnlargeSmall(side=128), ColourStep(kind="adain")]


@pytest.mark.parametrize(
    ("kind", "fields", "where"),
    [
        (EnlargeSmall, {"op": "enlarge_small", "side": 0}, "side"),
        (EnlargeSmall, {"op": "enlarge", "side": 8}, "op"),
        (EnlargeSmall, {"op": "enlarge_small", "side": 8, "filter": "lanczos"}, "filter"),
        (ColourStep, {"op": "colour_fix", "kind": "vivid"}, "kind"),
        (OriginalUpscale, {"op": "upscale", "factor": 17}, "factor"),
        (OriginalUpscale, {"op": "upscale", "factor": 0}, "factor"),
        (Fit, {"op": "fit", "multiple": 0}, "multiple"),
        (OriginalRules, RULES | {"small": 0}, "small"),
        (OriginalRules, RULES | {"steps": STEPS[:1]}, "steps"),
        (OriginalRules, RULES | {"steps": STEPS[::-1]}, "steps"),
        (OriginalRules, RULES | {"window": "ramp"}, "window"),
        (OriginalRules, RULES | {"noise": 1}, "noise"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(kind: Any, fields: dict[str, Any], where: str) -> None:
    """The planted faults: among them steps in the other order."""
    with pytest.raises(msgspec.ValidationError, match=where):
        msgspec.convert(fields, kind)
