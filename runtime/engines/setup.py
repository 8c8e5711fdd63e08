"""How a session is opened: what every engine understands, and the names of devices."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from lqhq.runtime.engine_spec import Profile
from lqhq.runtime.errors import OptionError

__all__ = ["Device", "Setup", "parse_device"]

DEVICE = re.compile(r"cpu|auto|cuda(?::([0-9]{1,2}))?")


def quiet(_line: str) -> None:
    """Says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Where and how a graph is run.

    device: "cpu", "cuda", "cuda:1", "auto" (CUDA where it works, else the CPU); None for the engine's own default.
    threads: of the CPU; None takes the processors that this process may use.
    profiles: the shapes that an engine is built for; ONNX Runtime takes any shape and needs none.
    cache: the folder of built engines and of what they learn; None for the user's.
    keep: outputs that stay on the device, see `Session`.
    turns: the session takes turns with others, and its memory on the CPU is theirs next; see `release_shared`.
    say: takes one line for each thing that was chosen, built or rebuilt.
    """

    device: str | None = None
    threads: int | None = None
    profiles: tuple[Profile, ...] = ()
    cache: Path | None = None
    keep: frozenset[str] = frozenset()
    turns: bool = False
    say: Callable[[str], None] = quiet


class Device(NamedTuple):
    """A parsed device; `ordinal` is that of the GPU."""

    kind: Literal["cpu", "cuda", "auto"]
    ordinal: int = 0

    def __str__(self) -> str:
        return f"cuda:{self.ordinal}" if self.kind == "cuda" else self.kind


def parse_device(text: str) -> Device:
    """The device that `text` names. Raises `OptionError`."""
    match = DEVICE.fullmatch(text)
    if match is None:
        raise OptionError(
            "device",
            found=repr(text),
            expected="'cpu', 'cuda', 'cuda:1' or 'auto'",
            mend="Leave it out for the engine's own.",
        )
    if text in ("cpu", "auto"):
        return Device("cpu" if text == "cpu" else "auto")
    return Device("cuda", int(match[1] or 0))
