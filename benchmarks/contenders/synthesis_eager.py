"""Synthesis in PyTorch eager, as the released program does it: diffusers' network and its UniPC, both as they come.

The procedure: pipelines/pipeline_ddpm_img2img.py of the release. Its diffusers of 2023 ended UniPC at the smallest
level, which today's must be told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from measuring.entry import Entry
from measuring.scene import scene
from numpy.typing import NDArray
from torch import Tensor

from contenders.synthesis_lqhq import start_noise
from contenders.torch_side import LAYOUTS, fastest, inference

__all__ = ["NOMINAL", "Synthesis", "eager"]

NOMINAL = 50  # steps of a whole run, of which the last ones are run
TRIAL = 128  # side at which memory layouts are tried


class Synthesis:
    """The folder `checkpoint` holds `unet/` and `scheduler/`."""

    def __init__(self, checkpoint: str) -> None:
        network = UNet2DModel.from_pretrained(checkpoint, subfolder="unet", low_cpu_mem_usage=False)
        self.network = cast(UNet2DModel, network).eval()
        self._scheduler = UniPCMultistepScheduler.from_pretrained(
            checkpoint, subfolder="scheduler", final_sigmas_type="sigma_min"
        )

    @torch.inference_mode()
    def __call__(
        self, image: NDArray[np.uint8], steps: int, noise: Tensor | None = None, layout: str = "contiguous"
    ) -> NDArray[np.uint8]:
        """`[H, W, 3]` to the same; `noise` `[1, 3, H, W]` is drawn where it is not given."""
        scheduler = self._scheduler
        x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255 * 2 - 1
        drawn = torch.randn(x.shape) if noise is None else noise
        scheduler.set_timesteps(NOMINAL)
        times = scheduler.timesteps[-steps:]
        x = scheduler.add_noise(x, drawn, times[:1]).contiguous(memory_format=LAYOUTS[layout])
        for t in times:
            x = scheduler.step(self.network(x, t).sample, t, x).prev_sample
        unit = (x / 2 + 0.5).clamp(0, 1)
        return (unit[0].permute(1, 2, 0) * 255).round().to(torch.uint8).contiguous().numpy()

    def laid_out(self, layout: str) -> None:
        self.network.to(memory_format=LAYOUTS[layout])  # type: ignore[call-overload]


def eager(checkpoint: str, side: int, steps: int, threads: int) -> Entry:
    """An image `[side, side, 3]` uint8 in memory to its partner, in the layout whose single call was faster."""
    inference(threads)
    synthesis = Synthesis(checkpoint)
    image, small = scene(side, side), scene(min(side, TRIAL), min(side, TRIAL))

    def tried(layout: str) -> Callable[[], object]:
        def run() -> object:
            synthesis.laid_out(layout)
            return synthesis(small, 1, layout=layout)

        return run

    best = fastest({layout: tried(layout) for layout in LAYOUTS})
    synthesis.laid_out(best)
    given = torch.from_numpy(start_noise(side))[None]
    return Entry(
        run=lambda: synthesis(image, steps, layout=best),
        answer=lambda: synthesis(image, steps, given, best),
        note=best,
    )
