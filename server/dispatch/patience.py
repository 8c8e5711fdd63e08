"""How long the dispatcher waits for a worker before it gives it up."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Patience"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds.

    `start_s`: from its start until a worker listens; imports take half a second where nothing else runs.
    `open_s`: to open a bundle; engines that are built first take many minutes.
    `run_s`: one batch. A whole stage of a latent model over a large image takes minutes on a CPU.
    `again_s`: before a worker is replaced that died young, doubled each time up to `most_again_s`. One that has run a
    batch, or lived for `most_again_s`, is replaced at once.
    `idle_s`: without a batch, until memory that large tensors took is given back.
    """

    start_s: float = 60.0
    open_s: float = 3600.0
    run_s: float = 1800.0
    again_s: float = 0.25
    most_again_s: float = 30.0
    idle_s: float = 5.0
