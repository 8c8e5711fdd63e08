"""One stage of OSEDiff in PyTorch eager: diffusers' own networks, in the faster of two memory layouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measuring.entry import Entry

from contenders import osediff_checkpoint
from contenders.osediff_feeds import stage_feed
from contenders.osediff_merged import merged_stage
from contenders.torch_side import LAYOUTS, fastest, inference

__all__ = ["stage"]

TRIAL = 16  # latents of a side at which layouts are tried


def stage(merged: str, size: str, role: str, side: int, threads: int) -> Entry:
    """One call, float32; `size` is FULL or TINY."""
    inference(threads)
    sizes: osediff_checkpoint.Sizes = getattr(osediff_checkpoint, size)
    module = merged_stage(Path(merged), role, sizes)

    def candidate(layout: str, latents: int) -> Callable[[], Any]:
        feed = stage_feed(role, latents, sizes.unet["cross_attention_dim"], sizes.words)
        given = [_laid(torch.from_numpy(array), layout) for array in feed.values()]

        @torch.inference_mode()
        def run() -> Any:
            module.to(memory_format=LAYOUTS[layout])  # type: ignore[call-overload]
            return module(*given).contiguous()

        return run

    layouts = ["contiguous"] if role == "text" else list(LAYOUTS)
    best = fastest({layout: candidate(layout, min(side, TRIAL)) for layout in layouts})
    run = candidate(best, side)
    return Entry(run=run, answer=lambda: run().numpy(), note=best)


def _laid(tensor: torch.Tensor, layout: str) -> torch.Tensor:
    return tensor.contiguous(memory_format=LAYOUTS[layout]) if tensor.ndim == 4 else tensor
