"""The base model's scheduler file: what the one step needs of it, and what it must not say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lqhq.export.families.osediff.base_config import NEED_BASE
from lqhq.export.families.osediff.one_step import LAST, StepConstants, step_constants
from lqhq.export.foreign_text import printable
from lqhq.runtime.errors import CheckpointError

__all__ = ["read_constants"]

# Key, what diffusers' DDPMScheduler takes where the key is absent, what the one step is written for.
FIXED: tuple[tuple[str, Any, Any], ...] = (
    ("prediction_type", "epsilon", "epsilon"),
    ("beta_schedule", "linear", "scaled_linear"),
    ("trained_betas", None, None),
    ("num_train_timesteps", 1000, LAST + 1),
    ("clip_sample", True, False),
    ("thresholding", False, False),
    ("rescale_betas_zero_snr", False, False),
)
HINTS = {"v_prediction": ": Stable Diffusion 2.1 of 768 pixels"}


def read_constants(where: str, config: Mapping[str, Any]) -> StepConstants:
    """The step's constants of a scheduler_config.json. Raises `CheckpointError` for another kind of process."""
    for key, default, expected in FIXED:
        found = config.get(key, default)
        if found != expected:
            hint = HINTS.get(found, "") if isinstance(found, str) else ""
            raise _fault(f"{where}: {key}", printable(repr(found), 60) + hint, repr(expected))
    start, end = (_beta(where, config, key) for key in ("beta_start", "beta_end"))
    if start >= end:
        raise _fault(f"{where}: beta_start", f"{start}, with beta_end {end}", "less than beta_end")
    return step_constants(start, end, LAST + 1)


def _beta(where: str, config: Mapping[str, Any], key: str) -> float:
    value = config.get(key)
    if not isinstance(value, float) or not 0 < value < 1:
        raise _fault(f"{where}: {key}", printable(repr(value), 60), "a number between 0 and 1")
    return value


def _fault(where: str, found: str, expected: str) -> CheckpointError:
    return CheckpointError(where, found=found, expected=expected, mend=NEED_BASE)
