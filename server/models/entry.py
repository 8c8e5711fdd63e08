"""One line of the list of models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Entry", "State"]

# As in the V2 protocol; UNAVAILABLE is what could not be opened, or was unloaded.
State = Literal["LOADING", "READY", "UNLOADING", "UNAVAILABLE"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Where one version of a model stands. `version` is 0 where it is not known yet, as are `task` and `scale`.

    `reason` says why it is unavailable; of one that is ready, why its reload failed; else it is empty.
    """

    name: str
    version: int
    state: State
    reason: str = ""
    task: str = ""
    scale: int = 0
