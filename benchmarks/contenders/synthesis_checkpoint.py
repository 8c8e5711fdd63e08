"""An LQ-DDPM checkpoint of any size with random weights, in the released form: `unet/` and `scheduler/` of diffusers.

python -m contenders.synthesis_checkpoint FOLDER SIZE     writes one, FULL, SMALL or TINY, in a process of its own

What it makes of an image means nothing; how long that takes does.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

from contenders.sd_networks import randomised

__all__ = ["SIZES", "network", "write_checkpoint"]

# The config.json of the release's training (train_ddpm.py); what it does not name is the library's default.
RELEASED: dict[str, Any] = {
    "sample_size": 256,
    "in_channels": 3,
    "out_channels": 3,
    "layers_per_block": 2,
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
}
SIZES: dict[str, dict[str, Any]] = {
    "FULL": RELEASED,
    # Without attention, which is most of what a network of that size computes: the sampler's share is then the largest.
    "SMALL": RELEASED
    | {
        "layers_per_block": 1,
        "block_out_channels": (32, 48, 64, 96),
        "down_block_types": ("DownBlock2D",) * 4,
        "up_block_types": ("UpBlock2D",) * 4,
        "norm_num_groups": 8,
        "add_attention": False,
    },
    "TINY": RELEASED | {"block_out_channels": (8, 8, 16, 16), "norm_num_groups": 4, "layers_per_block": 1},
}


def network(size: str) -> UNet2DModel:
    """One of `SIZES` with the random weights of `sd_networks.SEED`."""
    return cast(UNet2DModel, randomised(lambda: UNet2DModel(**SIZES[size])))


def write_checkpoint(folder: Path, size: str) -> Path:
    """As `save_pretrained` writes it; the scheduler is the release's, linear betas and spacing leading."""
    network(size).save_pretrained(folder / "unet")
    DDPMScheduler(num_train_timesteps=1000).save_pretrained(folder / "scheduler")
    return folder


if __name__ == "__main__":
    write_checkpoint(Path(sys.argv[1]), sys.argv[2])
