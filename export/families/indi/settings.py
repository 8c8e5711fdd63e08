"""What an InDI checkpoint cannot tell and somebody must: the time scale, the schedules, how the image is enlarged."""

from __future__ import annotations

from lqhq.export.settings import Sampling, Settings
from lqhq.runtime.errors import CheckpointError, OptionError

__all__ = ["require", "sampling"]


def require(settings: Settings) -> None:
    """Raise `CheckpointError` for the first value that an export needs and nobody gave."""
    needs = [
        (
            "time_scale",
            settings.time_scale is None,
            "--time-scale X (1 if the network is fed t in (0, 1], 1000 for timesteps)",
        ),
        ("schedules", not settings.schedules, "--schedule NAME=steps:5,noise:none"),
        ("resize", settings.resize is None and (settings.scale or 1) > 1, "--resize bicubic (or bicubic_075)"),
        (
            "default_schedule",
            settings.default_schedule is not None and settings.default_schedule not in (settings.schedules or {}),
            f"one of {', '.join(settings.schedules or {})}",
        ),
    ]
    for key, missing, mend in needs:
        if missing:
            raise CheckpointError(
                key,
                found="no usable value",
                expected=f"{key} in the config: the weights do not tell it",
                mend=f'Put "{key}" into --config, or give {mend}.',
            )
    if settings.resize is not None and (settings.scale or 1) == 1:
        raise OptionError(
            "resize", found=settings.resize, expected="none: scale is 1", mend="Give --scale, or leave it out."
        )


def sampling(name: str, given: Sampling, settings: Settings) -> Sampling:
    """`given` with `eps` and `clip_denoised` of the settings filled in where it is silent.

    The rule `renoise` never inherits a clip: the code base that has `clip_denoised` (scSplit) clamps in its older
    sampler (none, const, brownian) and not in the one that draws fresh noise at every step.
    """
    noise, eps = given.noise, given.eps
    if noise is None and (eps or settings.eps):
        raise CheckpointError(
            f"schedules.{name}.noise",
            found=f"no noise rule, but eps {eps or settings.eps}",
            expected="the rule of the training: none, const, brownian or renoise",
            mend=f"Give --schedule {name}=steps:N,noise:RULE.",
        )
    noise = noise or "none"
    if noise != "none" and eps is None:
        eps = settings.eps
        if eps is None:
            raise CheckpointError(
                f"schedules.{name}.eps",
                found=f"noise {noise} without its size",
                expected="eps, as in training",
                mend=f"Give --schedule {name}=steps:N,noise:{noise},eps:0.01.",
            )
    clip = given.clip
    if clip is None and settings.clip_denoised and noise != "renoise":
        clip = 1.0
    return Sampling(steps=given.steps, grid=given.grid, noise=noise, eps=eps or 0.0, clip=clip)
