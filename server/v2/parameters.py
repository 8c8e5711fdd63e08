"""Parameters of a V2 request into options. Every key is known, of its kind and in its range, or the request is refused.

| key | kind | meaning |
|---|---|---|
| `priority` | whole number | 1 is the most urgent; 0, the default, is the server's own level |
| `timeout` | int64 | microseconds that the request may wait for its first tile; 0, the default: no limit |
| `schedule`, `blend`, `prior`, `color_fix`, `rules` | string | as `lqhq upscale` |
| `seed`, `overlap` | whole number | as `lqhq upscale` |
| `tile` | whole number, or "auto" | as `lqhq upscale` |
| `tagger` | bool | as `lqhq upscale` |
| `output_format` | string | "tensor", "png", "jpeg", "webp", "tiff"; default: "tensor" for tensors, "png" for files |
| `quality` | whole number | 1 to 100, of JPEG and WebP; default 95 |
| `bit_depth` | whole number | 8 or 16; default: that of the image |
| `progress`, `tiles` | bool | streams only: more replies than one, see `replies.py` |
| `triton_enable_empty_final_response` | bool | of no effect: the last reply of a request is its result |

The prompt is an input, since texts are tensors in this protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, cast

from lqhq.runtime.errors import OptionError
from lqhq.server.protos.inference_pb2 import InferParameter
from lqhq.server.v2.errors import RequestError, UnsupportedError
from lqhq.server.v2.options import FORMATS, Delivery, Format, Options, Urgency

__all__ = ["KNOWN", "Asked", "read_parameters"]

MAX_PARAMETERS = 64
MAX_TEXT = 256  # bytes of a string; names of schedules are at most half of it
SIDE = 2**31 - 1  # the image libraries count no further
WHOLE = ("int64_param", "uint64_param")
MICROSECOND = 1e-6


class Parameter(NamedTuple):
    """The kinds that a key may come as, the range of a number, the texts there are (none: any).

    Where there are `numbers`, it is one of these.
    """

    kinds: tuple[str, ...]
    low: int = 0
    high: int = 0
    texts: tuple[str, ...] = ()
    numbers: tuple[int, ...] = ()

    @property
    def expected(self) -> str:
        """What would be taken, in words."""
        if self.kinds == ("bool_param",):
            return "a bool"
        if self.numbers:
            return " or ".join(map(str, self.numbers))
        text = " or ".join(repr(text) for text in self.texts) or f"a text of at most {MAX_TEXT} bytes"
        number = f"a whole number from {self.low} to {self.high}"
        if self.kinds[-1] != "string_param":
            return number + (", as int64_param" if self.kinds == ("int64_param",) else "")
        return text if len(self.kinds) == 1 else f"{number}, or {text}"


FLAG, TEXT = Parameter(("bool_param",)), Parameter(("string_param",))

KNOWN: Mapping[str, Parameter] = {
    "bit_depth": Parameter(WHOLE, numbers=(8, 16)),
    "blend": TEXT,
    "color_fix": TEXT,
    "output_format": Parameter(("string_param",), texts=FORMATS),
    "overlap": Parameter(WHOLE, 0, SIDE),
    "prior": TEXT,
    "priority": Parameter(WHOLE, 0, 2**64 - 1),
    "progress": FLAG,
    "quality": Parameter(WHOLE, 1, 100),
    "rules": TEXT,
    "schedule": TEXT,
    "seed": Parameter(WHOLE, 0, 2**64 - 1),
    "tagger": FLAG,
    "tile": Parameter((*WHOLE, "string_param"), 1, SIDE, ("auto",)),
    "tiles": FLAG,
    "timeout": Parameter(("int64_param",), 0, 2**63 - 1),
    "triton_enable_empty_final_response": FLAG,
}
OPTIONS = ("schedule", "seed", "tile", "overlap", "blend", "prior", "color_fix", "rules", "tagger")
SEQUENCES = ("sequence_id", "sequence_start", "sequence_end")


class Asked(NamedTuple):
    """What the parameters of a request say. `progress` and `tiles`: whether a stream is to have replies of these."""

    options: Options
    delivery: Delivery
    urgency: Urgency
    progress: bool
    tiles: bool


def read_parameters(
    parameters: Mapping[str, InferParameter], *, native: Format, prompt: str | None, streamed: bool
) -> Asked:
    """Check and sort the parameters. `native` is the output's form where none is named.

    Raises `RequestError` for an unknown key or a wrong kind, `OptionError` for a value out of range,
    `UnsupportedError` for sequences, and for `progress` or `tiles` where a request has one reply only.
    """
    if len(parameters) > MAX_PARAMETERS:
        raise RequestError(
            "parameters", found=str(len(parameters)), expected=f"at most {MAX_PARAMETERS}", mend="Send those needed."
        )
    # The key that a caller gives stands before those that clients add to it: sequence_id before sequence_end.
    keys = sorted(parameters, key=lambda key: (key != SEQUENCES[0], key))
    values: dict[str, Any] = {key: _value(key, parameters[key]) for key in keys}
    progress, tiles = values.get("progress", False), values.get("tiles", False)
    if (progress or tiles) and not streamed:
        raise UnsupportedError(
            "parameter 'progress'" if progress else "parameter 'tiles'",
            found="true in ModelInfer",
            expected="ModelStreamInfer: ModelInfer has one reply",
            mend="Use a stream, or leave it out.",
        )
    timeout = values.get("timeout", 0)
    return Asked(
        options=Options(**{name: values[name] for name in OPTIONS if name in values}, prompt=prompt),
        delivery=Delivery(
            format=cast(Format, values.get("output_format", native)),
            quality=values.get("quality", 95),
            bit_depth=cast(Literal[8, 16] | None, values.get("bit_depth")),
        ),
        urgency=Urgency(priority=values.get("priority", 0), timeout_s=timeout * MICROSECOND if timeout else None),
        progress=progress,
        tiles=tiles,
    )


def _value(key: str, parameter: InferParameter) -> bool | int | str:
    """The value under `key`, of its kind and in its range."""
    where = f"parameter {key[:80]!r}"
    if key in SEQUENCES:
        raise UnsupportedError(
            where, found="a sequence", expected="requests that stand alone", mend="Leave sequences out."
        )
    known = KNOWN.get(key)
    if known is None:
        raise RequestError(
            where,
            found="a key that is not known",
            expected=f"one of {', '.join(KNOWN)}",
            mend="Leave it out; a prompt is an input of datatype BYTES." if key == "prompt" else "Leave it out.",
        )
    kind = parameter.WhichOneof("parameter_choice")
    if kind not in known.kinds:
        raise RequestError(where, found=kind or "no value", expected=known.expected, mend="Send it as that kind.")
    value: bool | int | str = getattr(parameter, kind)
    if kind == "string_param":
        text = cast(str, value)
        fits = text in known.texts if known.texts else len(text.encode()) <= MAX_TEXT
    elif known.numbers:
        fits = value in known.numbers
    else:
        fits = kind == "bool_param" or known.low <= value <= known.high  # type: ignore[operator]
    if not fits:
        raise OptionError(key, found=repr(value)[:80], expected=known.expected, mend="Leave it out for the default.")
    return value
