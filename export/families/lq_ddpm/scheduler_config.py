"""A diffusers scheduler's configuration as a `Process`: scheduler/scheduler_config.json, whichever class wrote it.

Keys that change nothing at sampling are left alone; a setting that would change it, and that is not built here, is
refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from msgspec import Meta

from lqhq.export.families.lq_ddpm.process import Process, Sampler
from lqhq.runtime.errors import CheckpointError
from lqhq.runtime.samplers.ddpm import Variance
from lqhq.runtime.samplers.diffusion import NoiseProcess, diffusers_process

__all__ = ["SCHEDULER", "process_of"]

SCHEDULER = "scheduler"  # the key of a config under which the scheduler's is kept
Beta = Annotated[float, Meta(gt=0, lt=1)]
SAMPLERS: Mapping[str, Sampler] = {"DDIMScheduler": "ddim"}  # all others: the released program runs UniPC on them
VARIANCES: Mapping[str, Variance] = {
    "fixed_small": "fixed_small",
    "fixed_small_log": "fixed_small",  # the same number by way of its logarithm
    "fixed_large": "fixed_large",
    "learned_range": "learned_range",
}
# What UniPC is built for: its own defaults, which the released program keeps.
UNIPC: Mapping[str, Any] = {
    "solver_order": 2,
    "solver_type": "bh2",
    "predict_x0": True,
    "lower_order_final": True,
    "disable_corrector": [],
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "use_flow_sigmas": False,
}


class SchedulerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The keys that matter, with the libraries' defaults of every release. None: not in the file."""

    num_train_timesteps: Annotated[int, Meta(ge=2, le=10_000)] = 1000
    beta_start: Beta = 1e-4
    beta_end: Beta = 0.02
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "linear"
    trained_betas: tuple[Beta, ...] | None = None
    prediction_type: Literal["epsilon", "sample", "v_prediction"] = "epsilon"
    variance_type: str | None = None
    clip_sample: bool = True
    clip_sample_range: Annotated[float, Meta(gt=0)] = 1.0
    thresholding: bool = False
    rescale_betas_zero_snr: bool = False
    timestep_spacing: Literal["leading", "linspace", "trailing"] | None = None
    steps_offset: Annotated[int, Meta(ge=0, le=10_000)] = 0
    set_alpha_to_one: bool = True
    final_sigmas_type: Literal["zero", "sigma_min"] | None = None


def process_of(where: str, config: Mapping[str, Any], outputs: int) -> Process:
    """The process of a network of `outputs` channels. Raises `CheckpointError`.

    An empty `config` is that of the release: linear betas from 1e-4 to 0.02 in 1000 steps, of a predicted epsilon.
    """
    where = f"{where}: scheduler_config.json"
    try:
        given = msgspec.convert(dict(config), SchedulerConfig)
    except msgspec.ValidationError as error:
        raise _fault(where, str(error)) from error
    for key in ("thresholding", "rescale_betas_zero_snr"):
        if getattr(given, key):
            raise _fault(where, f"{key} true, whose samplers are no rows")
    return Process(
        library="diffusers",
        levels=_levels(where, given),
        prediction=given.prediction_type,
        variance=_variance(where, given, outputs),
        clip=given.clip_sample_range if given.clip_sample else None,
        sampler=SAMPLERS.get(str(config.get("_class_name")), "unipc"),
        spacing=given.timestep_spacing,
        offset=given.steps_offset,
        final=given.final_sigmas_type,
        end_clean=given.set_alpha_to_one,
        unipc=", ".join(f"{key} {config[key]!r}" for key, built in UNIPC.items() if config.get(key, built) != built),
    )


def _levels(where: str, given: SchedulerConfig) -> NoiseProcess:
    if given.trained_betas is None:
        if given.beta_end < given.beta_start:
            raise _fault(where, f"beta_start {given.beta_start} above beta_end {given.beta_end}")
        return diffusers_process(
            schedule=given.beta_schedule,
            train_steps=given.num_train_timesteps,
            beta_start=given.beta_start,
            beta_end=given.beta_end,
        )
    betas = np.array(given.trained_betas, np.float32)
    abar = np.cumprod((1 - betas).astype(np.float64)).astype(np.float32)
    return NoiseProcess(betas=betas, alphas_cumprod=abar, timesteps=np.arange(len(betas), dtype=np.int64))


def _variance(where: str, given: SchedulerConfig, outputs: int) -> Variance:
    kind = given.variance_type or ("learned_range" if outputs > 3 else "fixed_small")
    if kind not in VARIANCES:
        raise _fault(where, f"variance_type {kind!r}", f"one of {', '.join(VARIANCES)}")
    if (VARIANCES[kind] == "learned_range") != (outputs > 3):
        raise _fault(where, f"variance_type {kind!r} beside a network of {outputs} output channels")
    return VARIANCES[kind]


def _fault(
    where: str, found: str, expected: str = "a scheduler's configuration that can be a table"
) -> CheckpointError:
    return CheckpointError(
        where,
        found=found,
        expected=expected,
        mend="Use scheduler_config.json as diffusers wrote it, or correct the key.",
    )
