"""The `Ask` of lqhq.v1 into what restoration takes. What can be wrong without a bundle is told here."""

from __future__ import annotations

import re
import secrets
from typing import Any, Literal, cast

from lqhq.runtime.errors import LimitError, OptionError
from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.server.restoring.ask import Ask
from lqhq.server.v1.enum_words import word_of
from lqhq.server.v2.errors import RequestError
from lqhq.server.v2.options import Delivery, Format, Options, Urgency

__all__ = ["Wanted", "request_id", "restoration_ask"]

ID = re.compile(r"[A-Za-z0-9_.:-]{0,128}")
SIDE = 2**31 - 1  # the image libraries count no further
MAX_PROMPT = 4096  # bytes
MAX_NAME = 256  # characters of a model's or a schedule's name
QUALITY = 95
EIGHT_BIT = ("jpeg", "webp")

Wanted = pb.Ask


def request_id(wanted: Wanted) -> str:
    """The request's id, or a new one. Raises `RequestError` for one that cannot stand in a log."""
    if ID.fullmatch(wanted.request_id) is None:
        raise RequestError(
            "request_id",
            found=repr(wanted.request_id[:80]),
            expected='at most 128 letters, digits and "-_.:"',
            mend="Leave it out: the server makes one.",
        )
    return wanted.request_id or secrets.token_hex(8)


def restoration_ask(
    wanted: Wanted,
    id: str,
    *,
    image: bytes,
    mask: bytes | None,
    deadline_s: float | None,
    progress: bool = False,
    tiles: bool = False,
) -> Ask:
    """The ask for `image`, a file. Raises `RequestError`, `OptionError`, `LimitError`."""
    return Ask(
        id=id,
        model=_short("model.name", wanted.model.name),
        version=wanted.model.version,
        image=image,
        mask=mask,
        options=_options(wanted.options),
        delivery=_delivery(wanted.output),
        urgency=Urgency(priority=wanted.priority),
        deadline_s=deadline_s,
        progress=progress,
        tiles=tiles,
    )


def _options(given: pb.Options) -> Options:
    prompt = given.prompt if given.HasField("prompt") else None
    if prompt is not None and len(prompt.encode()) > MAX_PROMPT:
        raise LimitError(
            "options.prompt",
            found=f"{len(prompt.encode())} bytes",
            expected=f"at most {MAX_PROMPT}",
            mend="Models read a few dozen words.",
        )
    for name in ("tile", "overlap"):
        if (side := getattr(given, name)) > SIDE:
            raise OptionError(
                name, found=str(side), expected=f"at most {SIDE}", mend="Leave it out for what the server chooses."
            )
    return Options(
        schedule=_short("options.schedule", given.schedule) if given.HasField("schedule") else None,
        seed=given.seed,
        tile=given.tile or None,
        overlap=given.overlap if given.HasField("overlap") else None,
        blend=word_of(pb.Blend, given.blend, "options.blend"),
        prior=word_of(pb.Prior, given.prior, "options.prior"),
        color_fix=word_of(pb.ColorFix, given.color_fix, "options.color_fix"),
        rules=word_of(pb.Rules, given.rules, "options.rules"),
        prompt=prompt,
        tagger=given.tagger,
    )


def _delivery(output: pb.Output) -> Delivery:
    form = cast(Format, word_of(pb.ImageFormat, output.format, "output.format") or "png")
    if output.quality > 100:
        raise OptionError(
            "output.quality",
            found=str(output.quality),
            expected=f"1 to 100, or 0 for {QUALITY}",
            mend="95 is hard to tell from lossless.",
        )
    depth: Any = output.bit_depth or None
    most = 8 if form in EIGHT_BIT else 16
    if depth not in (None, 8, 16) or (depth or 8) > most:
        raise OptionError(
            "output.bit_depth",
            found=str(depth),
            expected=f"0 or 8 for {form.upper()}" if most == 8 else "0, 8 or 16",
            mend="Leave it out, or ask for PNG or TIFF.",
        )
    return Delivery(format=form, quality=output.quality or QUALITY, bit_depth=cast(Literal[8, 16] | None, depth))


def _short(where: str, text: str) -> str:
    if len(text) > MAX_NAME:
        raise RequestError(
            where, found=f"{len(text)} characters", expected=f"at most {MAX_NAME}", mend="DescribeModel has the names."
        )
    return text
