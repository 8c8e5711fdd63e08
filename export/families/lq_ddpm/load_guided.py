"""Format `guided`: a state dict of guided-diffusion's UNetModel with its flags, those of the process included."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lqhq.export.families.indi.load_guided import GuidedFlags, attention_heads, claims, unet_of
from lqhq.export.families.indi.network_config import need, typed
from lqhq.export.families.indi.tile_hints import ATTENTION, NORM
from lqhq.export.families.lq_ddpm.attention import chunked_guided
from lqhq.export.families.lq_ddpm.channels import check_channels
from lqhq.export.families.lq_ddpm.process import Loaded, Process
from lqhq.export.families.lq_ddpm.tiles import network
from lqhq.export.family import Format, Network, Weights
from lqhq.runtime.errors import CheckpointError
from lqhq.runtime.samplers.diffusion import guided_process

__all__ = ["GUIDED"]

SCALED = 1000  # rescale_timesteps feeds the network as if the process had so many steps
# What the weights cannot tell of the process; the flags have a default for each, and a wrong one is a wrong image.
PROCESS = ("noise_schedule", "diffusion_steps", "predict_xstart", "rescale_timesteps")


def load(weights: Weights, config: Mapping[str, Any]) -> Network:
    flags = typed(GuidedFlags, config, "guided")
    unet, shape = unet_of(weights, flags, check_channels)
    for key in PROCESS:
        need(key, getattr(flags, key), "guided")
    process = _process(weights.where, flags, learned=shape.out_channels > shape.in_channels)
    assert attention_heads(shape)  # the middle block always attends
    return network(
        Loaded(unet, chunked_guided(unet), process, shape.out_channels),
        multiple=2 ** (len(shape.widths) - 1),
        deviations=(NORM, ATTENTION),
        notes=[],
    )


def _process(where: str, flags: GuidedFlags, *, learned: bool) -> Process:
    schedule, steps = flags.noise_schedule, flags.diffusion_steps
    if schedule not in ("linear", "cosine") or steps is None or not 2 <= steps <= 10_000:
        raise CheckpointError(
            f"{where}: noise_schedule, diffusion_steps",
            found=f"{schedule!r}, {steps}",
            expected="linear or cosine, 2 to 10000",
            mend="Give the flags that the checkpoint was trained with.",
        )
    respacing = flags.timestep_respacing or ""
    return Process(
        library="guided-diffusion",
        levels=guided_process(schedule="linear" if schedule == "linear" else "cosine", train_steps=steps),
        prediction="sample" if flags.predict_xstart else "epsilon",
        variance="learned_range" if learned else "fixed_large",
        clip=1.0,
        sampler="ddim" if isinstance(respacing, str) and respacing.startswith("ddim") else "ddpm",
        t_scale=SCALED / steps if flags.rescale_timesteps else 1.0,
        respacing=respacing if isinstance(respacing, str) else ",".join(map(str, respacing)),
        truncates=True,
    )


GUIDED = Format(name="guided", about="guided-diffusion UNetModel state dict with flags", claims=claims, load=load)
