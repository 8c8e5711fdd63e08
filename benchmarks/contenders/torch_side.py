"""PyTorch's contenders, eager and compiled, each given the faster of what it can be given.

fp32, inference mode, the same number of threads as lqhq. Memory layout, and for whole images tiling, are chosen by
timing at the start. `torch.compile` gets frozen weights (Inductor then repacks them for oneDNN once) and picks the
layout of convolutions by itself, so it is not compiled a second time for another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from measuring.entry import Entry
from measuring.scene import scene
from torch import nn

from contenders.inputs import network_feed
from contenders.plain_unet import plain_unet
from contenders.torch_demo import Network, network_from_graph, restore_image, whole
from lqhq.runtime import Restorer

__all__ = ["network", "restore"]

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}


def built(name: str, layout: str, compiled: bool) -> Network:
    """`unet`, or the path of an exported FilmResNet."""
    module: nn.Module = plain_unet() if name == "unet" else network_from_graph(Path(name))
    module.to(memory_format=LAYOUTS[layout])  # type: ignore[call-overload]
    if not compiled:
        return module
    import torch._inductor.config

    torch._inductor.config.freezing = True
    return torch.compile(module)


def fastest(candidates: Mapping[str, Callable[[], Any]]) -> str:
    """The name of the fastest candidate: one run each, after one to warm up."""
    times = {}
    for name, run in candidates.items():
        run()
        start = time.perf_counter()
        run()
        times[name] = time.perf_counter() - start
    return min(times, key=lambda name: times[name])


def layouts(compiled: bool) -> tuple[str, ...]:
    """The memory layouts worth trying."""
    return ("contiguous",) if compiled else tuple(LAYOUTS)


def inference(threads: int) -> None:
    """Set the process up: every contender is alone in its own."""
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)


def network(name: str, shape: Sequence[int], threads: int, compiled: bool) -> Entry:
    """One call of a network."""
    inference(threads)
    feed = {key: torch.from_numpy(array) for key, array in network_feed(shape).items()}

    def candidate(layout: str) -> Callable[[], Any]:
        module, x = built(name, layout, compiled), feed["state"].contiguous(memory_format=LAYOUTS[layout])

        @torch.inference_mode()
        def run() -> Any:
            return module(x, feed["t"]).contiguous()

        return run

    candidates = {layout: candidate(layout) for layout in layouts(compiled)}
    best = fastest(candidates)
    return Entry(run=candidates[best], answer=lambda: candidates[best]().numpy(), note=best)


def restore(bundle: str, side: int, threads: int, compiled: bool, untiled: bool = False) -> Entry:
    """The whole restoration of a `side` x `side` uint8 image in memory, as lqhq's schedule `fast` does it.

    What runs is the faster of lqhq's tile plan and the whole image at once, or the latter when `untiled`; the answer
    is always of lqhq's plan.
    """
    inference(threads)
    image = scene(side, side)
    with Restorer.open(bundle, threads=1) as restorer:
        plan = restorer.plan(image, schedule="fast", blend="final").plan
        manifest = restorer.bundle.manifest
        graph = str(restorer.bundle.path(manifest.graphs["denoise"]["fp32"].file))
    plans = {"lqhq's tiles": plan, "whole": whole(plan.canvas)}

    def candidate(name: str, layout: str) -> Callable[[], Any]:
        module = built(graph, layout, compiled)

        @torch.inference_mode()
        def run() -> Any:
            return restore_image(module, image, plans[name], LAYOUTS[layout], manifest.scale)

        return run

    tiled = {f"lqhq's tiles, {layout}": candidate("lqhq's tiles", layout) for layout in layouts(compiled)}
    best_tiled = fastest(tiled)
    layout = best_tiled.rpartition(", ")[2]
    candidates = {best_tiled: tiled[best_tiled]}
    if len(plan) > 1:
        candidates[f"whole, {layout}"] = candidate("whole", layout)
    if untiled:
        del candidates[best_tiled]
    best = fastest(candidates)
    return Entry(run=candidates[best], answer=tiled[best_tiled], note=best)
