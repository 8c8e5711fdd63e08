"""How an InDI network becomes a bundle: one graph, `denoise`, and the rows of its schedules."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from lqhq.export.families.indi.sampler import sample, schedule
from lqhq.export.families.indi.settings import require, sampling
from lqhq.export.family import Arrays, Network, Perturb, Recipe, RoleGraph
from lqhq.export.padded_noise import padded_noise
from lqhq.export.settings import Sampling, Settings
from lqhq.export.tile_hints import tile_hints
from lqhq.runtime import manifest as m
from lqhq.runtime.geometry import Size

__all__ = ["PIXELS", "Denoise", "recipe"]

PIXELS = m.Pixels(range=(-1.0, 1.0), order="rgb")  # InDI's convention in all code that we know
# In half precision, statistics over many values and exponentials stay in float32.
ISLANDS: tuple[type[nn.Module], ...] = (nn.GroupNorm, nn.Softmax)
LEAST_T = 0.02  # of the examples: below it, no sampler of a few dozen steps ever calls


class Denoise(nn.Module):
    """The role `denoise`: `state` and `t` in (0, 1] to `pred`, with the time scale folded in."""

    def __init__(self, module: nn.Module, time_scale: float) -> None:
        super().__init__()
        self.module, self.time_scale = module, time_scale

    def forward(self, state: Tensor, t: Tensor) -> Tensor:
        return self.module(state, t if self.time_scale == 1.0 else t * self.time_scale)  # type: ignore[no-any-return]


def recipe(network: Network, settings: Settings) -> Recipe:
    """Raises `CheckpointError` for what nobody told, `OptionError` or `ScheduleError` for what cannot be."""
    require(settings)
    samplings = {name: sampling(name, item, settings) for name, item in (settings.schedules or {}).items()}
    denoise = Denoise(network.module, settings.time_scale or 1.0).eval()
    scale = settings.scale or 1

    def restore(prepared: Tensor, name: str | None, noise: Arrays, perturb: Perturb) -> Tensor:
        wide = {stream: padded_noise(array, prepared) for stream, array in noise.items()}
        return sample(lambda state, t: perturb(denoise(state, t)), prepared, samplings[name or ""], wide)

    return Recipe(
        graphs=(_graph(network, denoise, settings.pixels or PIXELS),),
        task=settings.task or ("super-resolution" if scale > 1 else "restoration"),
        scale=scale,
        pixels=settings.pixels or PIXELS,
        prepare=(
            *((m.Resize(filter=settings.resize, factor=scale),) if settings.resize else ()),
            m.Pad(mode="reflect", multiple=network.multiple, smallest=network.smallest),
        ),
        finish=(m.Crop(), m.Quantize(mode=settings.quantize or "round")),
        tiles=tile_hints(
            settings.tiles,
            multiple=network.multiple,
            smallest=network.smallest,
            preferred=network.preferred,
            overlap=network.overlap,
            reach=network.reach,
            deviations=network.deviations,
        ),
        restore=restore,
        streams=lambda name, size: _streams(samplings[name or ""], network.channels, size),
        schedules={name: schedule(item) for name, item in samplings.items()},
        default_schedule=settings.default_schedule or next(iter(samplings)),
    )


def _graph(network: Network, denoise: Denoise, pixels: m.Pixels) -> RoleGraph:
    image = m.Tensor(dtype="float32", shape=("N", network.channels, "H", "W"))

    def examples(draw: np.random.Generator, n: int, height: int, width: int) -> dict[str, NDArray[np.float32]]:
        t = draw.uniform(LEAST_T, 1, n)
        t[1:2] = 1.0  # the first call of every schedule
        state = draw.uniform(*pixels.range, (n, network.channels, height, width))
        return {"state": state.astype(np.float32), "t": t.astype(np.float32)}

    return RoleGraph(
        role="denoise",
        module=denoise,
        plain=denoise,
        inputs={"state": image, "t": m.Tensor(dtype="float32", shape=("N",), per="sample")},
        outputs={"pred": image},
        examples=examples,
        multiple=network.multiple,
        smallest=network.smallest,
        pred="x0",
        per_pair=network.per_pair,
        islands=ISLANDS,
    )


def _streams(sampling: Sampling, channels: int, size: Size) -> dict[str, tuple[int, ...]]:
    """None where the schedule is deterministic."""
    if sampling.noise == "none":
        return {}
    steps = sampling.steps or len(sampling.grid or ()) - 1
    return {"start": (channels, *size), "step": (steps, channels, *size)}
