"""How partners are made, by settings and by the checkpoint's own configuration: everything decided."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lqhq.export.families.lq_ddpm.process import Process, Sampler
from lqhq.export.settings import DIFFUSION, Settings, foreign_setting
from lqhq.runtime.errors import OptionError
from lqhq.runtime.samplers.timesteps import Spacing, respaced_timesteps

__all__ = ["MOST_STARTS", "Plan", "plan"]

STEPS, STRENGTH = 50, 0.25  # the released program's own
MOST_STARTS = 256  # tables in a bundle: a quarter of 1000 steps, which is a manifest of ten megabytes
OWN = ("name", "task", "tiles", "licences", "pixels", "quantize", "clip_denoised", "state_key", "key_prefix")
SPACED = ("spacing", "final_sigmas")  # of diffusers' samplers


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """`starts` tables, of the last 1, 2, ... of `steps` nominal steps. `respacing` is guided-diffusion's own, or ""."""

    sampler: Sampler
    steps: int
    starts: int
    most: float
    eta: float
    spacing: Spacing
    final: Literal["zero", "sigma_min"]
    respacing: str
    clip: float | None


def plan(process: Process, settings: Settings) -> Plan:
    """Raises `OptionError` for a setting that this sampler does not take, or that does not fit."""
    for key in Settings.__struct_fields__:
        if key not in (*OWN, *DIFFUSION) and getattr(settings, key) is not None:
            raise foreign_setting("lq-ddpm", key)
    sampler = settings.sampler or process.sampler
    _refuse(process, settings, sampler)
    respacing = _respacing(process, settings, sampler)
    steps = len(respaced_timesteps(respacing=respacing, train_steps=_levels(process))) if respacing else None
    steps = steps or settings.steps or STEPS
    most = settings.max_strength or STRENGTH
    starts = min(int(steps * most), steps)  # truncated in double precision, as the released program does
    if not 1 <= starts <= MOST_STARTS:
        raise OptionError(
            "--steps, --max-strength",
            found=f"{steps} steps, of which a strength of {most:g} runs {starts}",
            expected=f"1 to {MOST_STARTS} steps to run: each start is a table of the bundle",
            mend="Change one of the two.",
        )
    return Plan(
        sampler=sampler,
        steps=steps,
        starts=starts,
        most=most,
        eta=settings.eta or 0.0,
        # What a library takes where its configuration says nothing.
        spacing=settings.spacing or process.spacing or ("linspace" if sampler == "unipc" else "leading"),
        # Before diffusers had the choice it was sigma_min, and the released checkpoints are of that time.
        final=settings.final_sigmas or process.final or "sigma_min",
        respacing=respacing,
        clip=process.clip if settings.clip_denoised in (None, process.clip is not None) else _clip(settings),
    )


def _clip(settings: Settings) -> float | None:
    return 1.0 if settings.clip_denoised else None


def _levels(process: Process) -> int:
    return int(process.levels.betas.size)


def _respacing(process: Process, settings: Settings, sampler: Sampler) -> str:
    """The string of guided-diffusion's own samplers; "" for all others. A number of steps is one, too."""
    if process.library != "guided-diffusion" or sampler == "unipc":
        return ""
    given = settings.respacing
    if given is not None and process.respacing not in ("", given):
        raise OptionError(
            "--respacing",
            found=f"{given!r}, but {process.respacing!r} in the flags",
            expected="one value",
            mend="Remove one of the two.",
        )
    said = given or process.respacing
    if said and settings.steps is not None:
        raise OptionError("--steps", found=f"{settings.steps} beside {said!r}", expected="one", mend="Leave one out.")
    return said or str(settings.steps or STEPS)


def _refuse(process: Process, settings: Settings, sampler: Sampler) -> None:
    """Options that would do nothing, and samplers that the checkpoint's library does not have."""
    guided = process.library == "guided-diffusion" and sampler != "unipc"
    spaced = process.library == "diffusers" or sampler == "unipc"
    wrong = {
        "--eta": settings.eta is not None and sampler != "ddim",
        "--spacing": settings.spacing is not None and not spaced,
        "--final-sigmas": settings.final_sigmas is not None and sampler != "unipc",
        "--respacing": settings.respacing is not None and not guided,
    }
    for flag, given in wrong.items():
        if given:
            raise OptionError(
                flag,
                found=f"it with {sampler} of a {process.library} checkpoint",
                expected="a sampler that has such a setting",
                mend="Leave it out, or choose another --sampler.",
            )
    if sampler == "unipc" and process.unipc:
        raise OptionError(
            "--sampler",
            found=f"unipc with {process.unipc} in the scheduler's configuration",
            expected="UniPC of order 2, bh2, with its defaults",
            mend="Choose --sampler ddpm or ddim.",
        )
    if process.library == "lucidrains" and sampler == "ddpm" and (settings.steps or STEPS) != _levels(process):
        raise OptionError(
            "--sampler",
            found=f"ddpm in {settings.steps or STEPS} steps",
            expected=f"all {_levels(process)}: this code base runs DDPM along every step",
            mend=f"Give --steps {_levels(process)} and a --max-strength, or take --sampler ddim.",
        )
