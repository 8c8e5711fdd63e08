"""Format `diffusers`: a UNet2DModel with its scheduler's configuration, as the release stores them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lqhq.export.families.indi.load_diffusers import PlainUNet, attention_heads, claims, unet_of
from lqhq.export.families.indi.tile_hints import ATTENTION, NORM
from lqhq.export.families.lq_ddpm.attention import chunked_diffusers
from lqhq.export.families.lq_ddpm.channels import check_channels
from lqhq.export.families.lq_ddpm.process import Loaded
from lqhq.export.families.lq_ddpm.scheduler_config import SCHEDULER, process_of
from lqhq.export.families.lq_ddpm.tiles import network
from lqhq.export.family import Format, Network, Weights
from lqhq.runtime.errors import CheckpointError

__all__ = ["DIFFUSERS"]

# What the release's training has, and what a DDPMScheduler of that time (diffusers 0.20) writes of its spacing.
RELEASE: Mapping[str, Any] = {"timestep_spacing": "leading"}
NO_SCHEDULER = (
    "no scheduler/ beside the network: took the release's, linear betas 1e-4 to 0.02 in 1000 steps, epsilon, spacing "
    "leading"
)


def load(weights: Weights, config: Mapping[str, Any]) -> Network:
    notes: list[str] = []
    own = {key: value for key, value in config.items() if key != SCHEDULER}
    scheduler = config.get(SCHEDULER, {})
    if not isinstance(scheduler, Mapping):
        raise CheckpointError(
            f"--config: {SCHEDULER}",
            found=type(scheduler).__name__,
            expected="the content of scheduler_config.json",
            mend="Put the file's object there.",
        )
    unet = unet_of(weights, own, notes, check_channels)
    outputs = int(unet.config["out_channels"])
    process = process_of(weights.where, scheduler or RELEASE, outputs)
    if not scheduler:
        notes.append(NO_SCHEDULER)
    plain = PlainUNet(unet).eval()
    return network(
        Loaded(plain, chunked_diffusers(plain), process, outputs),
        multiple=2 ** (len(unet.down_blocks) - 1),
        deviations=(NORM, ATTENTION) if attention_heads(unet) else (NORM,),
        notes=notes,
    )


DIFFUSERS = Format(name="diffusers", about="diffusers UNet2DModel and its scheduler", claims=claims, load=load)
