"""What a model would refuse of every image, told beforehand."""

from __future__ import annotations

from typing import Any

import pytest

from lqhq.runtime.errors import OptionError
from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.server.v2.errors import UnavailableError
from lqhq.tools.cli.model_fit import check_model

UNSAID = {"schedule": None, "seed": 0, "tile": "auto", "overlap": None, "tagger": False, "prompt": None}


def model(**fields: Any) -> pb.Model:
    summary = pb.ModelSummary(name="m", state=pb.MODEL_STATE_READY)
    schedules = [pb.Schedule(name="fast"), pb.Schedule(name="fine")]
    return pb.Model(summary=summary, options=["overlap", "schedule", "seed", "tile"], schedules=schedules, **fields)


def test_what_fits() -> None:
    check_model(model(), UNSAID, masked=False)
    check_model(model(), UNSAID | {"schedule": "fine", "overlap": 8, "tile": 64, "seed": 1}, masked=False)
    check_model(model(needs_mask=True), UNSAID, masked=True)


@pytest.mark.parametrize(
    ("asked", "masked", "text"),
    [
        ({"tagger": True}, False, "--tagger: found True; expected an option that 'm' takes: overlap, schedule"),
        ({"prompt": ""}, False, "--prompt: found ''"),
        ({"schedule": "slow"}, False, "--schedule: found 'slow'; expected one of fast, fine"),
        ({}, True, "--mask: found a mask; expected none: 'm' fills no holes"),
    ],
)
def test_what_does_not(asked: dict[str, Any], masked: bool, text: str) -> None:
    with pytest.raises(OptionError) as raised:
        check_model(model(), UNSAID | asked, masked=masked)
    assert text in str(raised.value)


def test_a_mask_that_is_missing() -> None:
    with pytest.raises(OptionError, match="expected a mask"):
        check_model(model(needs_mask=True), UNSAID, masked=False)


def test_a_model_that_takes_nothing() -> None:
    broken = pb.Model(summary=pb.ModelSummary(name="m", state=pb.MODEL_STATE_FAILED, reason="A digest differs."))
    with pytest.raises(UnavailableError, match=r"found failed; expected ready\. A digest differs\."):
        check_model(broken, UNSAID, masked=False)
    broken.summary.state = 99  # type: ignore[assignment]  # newer than this client
    with pytest.raises(UnavailableError, match="an unknown state"):
        check_model(broken, UNSAID, masked=False)
