"""Whether a server's model takes what is asked, told before the first file is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lqhq.runtime.errors import OptionError
from lqhq.server.client.words import word_of
from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.server.v2.errors import UnavailableError

__all__ = ["check_model"]

UNSAID = (None, False, 0, "auto")  # the flags' defaults: nothing was asked for


def check_model(model: pb.Model, asked: Mapping[str, Any], *, masked: bool) -> None:
    """Raise for what the model would refuse of every image; `asked` are values by name of option.

    Raises `UnavailableError` for a model that takes no requests, `OptionError` for an option that it does not take,
    a schedule that it does not have, and a mask that is missing or not needed.
    """
    name = model.summary.name
    if model.summary.state != pb.MODEL_STATE_READY:
        raise UnavailableError(
            f"model {name!r}",
            found=word_of(pb.ModelState, model.summary.state) or "an unknown state",
            expected="ready",
            mend=model.summary.reason or "Try again later.",
        )
    for option, value in asked.items():
        if value not in UNSAID and option not in model.options:
            raise OptionError(
                "--" + option.replace("_", "-"),
                found=repr(value)[:80],
                expected=f"an option that {name!r} takes: {', '.join(model.options)}",
                mend="Leave it out, or name another --model.",
            )
    schedules = [schedule.name for schedule in model.schedules]
    if asked.get("schedule") is not None and asked["schedule"] not in schedules:
        raise OptionError(
            "--schedule",
            found=repr(asked["schedule"])[:80],
            expected=f"one of {', '.join(schedules)}",
            mend="Name one.",
        )
    if masked != model.needs_mask:
        raise OptionError(
            "--mask",
            found="a mask" if masked else "none",
            expected="a mask, for this model fills holes" if model.needs_mask else f"none: {name!r} fills no holes",
            mend="Leave it out, or name another --model." if masked else "Give --mask FILE, or a folder of masks.",
        )
