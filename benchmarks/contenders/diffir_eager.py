"""DiffIR in PyTorch eager: the plain network from the same checkpoint, in the faster of two memory layouts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measuring.entry import Entry

from contenders.diffir_graphs import diffir_feed
from contenders.torch_side import LAYOUTS, fastest, inference
from lqhq.export.families.diffir.load_official import load

__all__ = ["eager"]

TRIAL = 128  # side at which layouts are tried: at 512 the slower one alone takes minutes


def eager(checkpoint: str, side: int, threads: int) -> Entry:
    """One call of the whole network: condition, prior, restoration."""
    inference(threads)
    tensors = torch.load(checkpoint, weights_only=True, map_location="cpu")["params_ema"]
    module = load(Path(checkpoint).name, tensors, []).eval()

    def candidate(layout: str, size: int) -> Callable[[], Any]:
        feed = {name: torch.from_numpy(array) for name, array in diffir_feed(size).items()}
        x = feed["lq"].contiguous(memory_format=LAYOUTS[layout])

        @torch.inference_mode()
        def run() -> Any:
            module.to(memory_format=LAYOUTS[layout])  # type: ignore[call-overload]
            return module(x, feed["noise"]).contiguous()

        return run

    best = fastest({layout: candidate(layout, min(side, TRIAL)) for layout in LAYOUTS})
    run = candidate(best, side)
    return Entry(run=run, answer=lambda: run().numpy(), note=best)
