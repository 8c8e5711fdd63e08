"""A restored image as it came over the wire, and what the server says was done."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lqhq.runtime.whole_file import write_whole
from lqhq.server.client.pictures import array_of
from lqhq.server.client.words import word_of
from lqhq.server.protos import lqhq_v1_pb2 as pb

__all__ = ["Result", "outcome_fields"]

WORDS = {"format": pb.ImageFormat, "blend": pb.Blend, "rules": pb.Rules, "prior": pb.Prior, "color_fix": pb.ColorFix}


@dataclass(frozen=True, slots=True)
class Result:
    """`image` is the file; `outcome` says what was taken, after all defaults, and what it cost."""

    image: bytes
    outcome: pb.Outcome

    def to_array(self) -> NDArray[Any]:
        """Decode: `[H, W, C]` uint8 or uint16, C 1 to 4. Raises `ImageError`. Needs the image codec of lqhq."""
        return array_of(self.image)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the file whole or not at all, whatever the suffix of `path` is. Raises `ImageError`."""
        write_whole(Path(path), self.image)


def outcome_fields(outcome: pb.Outcome) -> dict[str, Any]:
    """The fields of an outcome by name, in the order of the contract; enums as words, the shape as a list.

    `shape` is [height, width, channels, bit_depth].
    """
    fields: dict[str, Any] = {}
    for field in pb.Outcome.DESCRIPTOR.fields:
        value = getattr(outcome, field.name)
        if field.name == "shape":
            value = [value.height, value.width, value.channels, value.bit_depth]
        fields[field.name] = word_of(WORDS[field.name], value) if field.name in WORDS else value
    return fields
