"""How a network becomes a bundle: one graph, `denoise`, and a table for every place where a run may begin."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lqhq.export.families.lq_ddpm import oracle
from lqhq.export.families.lq_ddpm.channels import CHANNELS
from lqhq.export.families.lq_ddpm.lucidrains_unet import RMSNorm
from lqhq.export.families.lq_ddpm.process import Loaded
from lqhq.export.families.lq_ddpm.schedules import path_of, schedules
from lqhq.export.families.lq_ddpm.settings import plan
from lqhq.export.family import Arrays, Network, Perturb, Recipe, RoleGraph
from lqhq.export.padded_noise import padded_noise
from lqhq.export.settings import Settings
from lqhq.export.tile_hints import tile_hints
from lqhq.runtime import manifest as m
from lqhq.runtime.geometry import Size
from lqhq.runtime.schedule import Schedule
from lqhq.runtime.synthesis_spec import Synthesis

__all__ = ["Denoise", "recipe"]

PIXELS = m.Pixels(range=(-1.0, 1.0), order="rgb")  # as in all trainings that we know
ISLANDS: tuple[type[nn.Module], ...] = (nn.GroupNorm, RMSNorm)  # statistics; attention keeps its softmax by itself
JUDGED = 3  # tables that parity runs besides the longest: where a multistep sampler changes its order
PREDICTIONS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}


class Denoise(nn.Module):
    """The role `denoise`: `state` `[N, 3, H, W]` and `t` `[N]` to `pred`, and to `var` where the network has one."""

    def __init__(self, network: nn.Module, outputs: int) -> None:
        super().__init__()
        self.network, self.learned = network, outputs > CHANNELS

    def forward(self, state: Tensor, t: Tensor) -> Tensor | tuple[Tensor, ...]:
        out: Tensor = self.network(state, t)
        return tuple(torch.split(out, CHANNELS, dim=1)) if self.learned else out


def recipe(network: Network, settings: Settings) -> Recipe:
    """Raises `OptionError` or `ScheduleError` for settings that do not fit the checkpoint."""
    loaded = network.module
    assert isinstance(loaded, Loaded)  # this family's formats make nothing else
    process, pixels = loaded.process, settings.pixels or PIXELS
    decided = plan(process, settings)
    tables = schedules(process, decided)
    names = tuple(tables)
    plain = Denoise(loaded.network, loaded.outputs).eval()

    def restore(prepared: Tensor, name: str | None, noise: Arrays, perturb: Perturb) -> Tensor:
        def call(state: Tensor, t: Tensor) -> tuple[Tensor, Tensor | None]:
            found = plain(state, t)
            return (perturb(found), None) if isinstance(found, Tensor) else (perturb(found[0]), perturb(found[1]))

        rows = names.index(name or "") + 1
        wide = {stream: padded_noise(array, prepared) for stream, array in noise.items()}
        return oracle.sample(call, prepared, path_of(process, decided, rows), process, decided, wide)

    return Recipe(
        graphs=(_graph(network, loaded, plain, pixels),),
        task=settings.task or "degradation",
        scale=1,
        pixels=pixels,
        prepare=(m.Pad(mode="reflect", multiple=network.multiple, smallest=network.smallest),),
        finish=(m.Crop(), m.Quantize(mode=settings.quantize or ("truncate" if process.truncates else "round"))),
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
        streams=lambda name, size: _streams(tables[name or ""], size),
        schedules=tables,
        default_schedule=names[-1],
        judged=tuple(dict.fromkeys([*names[:JUDGED], names[-1]])),
        synthesis=Synthesis(steps=decided.steps, schedules=names, most=decided.most),
    )


def _graph(network: Network, loaded: Loaded, plain: Denoise, pixels: m.Pixels) -> RoleGraph:
    image = m.Tensor(dtype="float32", shape=("N", CHANNELS, "H", "W"))
    longest = float(loaded.process.levels.timesteps[-1]) * loaded.process.t_scale

    def examples(draw: np.random.Generator, n: int, height: int, width: int) -> dict[str, NDArray[np.float32]]:
        state = draw.uniform(*pixels.range, (n, CHANNELS, height, width))
        return {"state": state.astype(np.float32), "t": draw.uniform(0, longest, n).astype(np.float32)}

    return RoleGraph(
        role="denoise",
        module=Denoise(loaded.chunked, loaded.outputs).eval(),
        plain=plain,
        inputs={"state": image, "t": m.Tensor(dtype="float32", shape=("N",), per="sample")},
        outputs={"pred": image, **({"var": image} if plain.learned else {})},
        examples=examples,
        multiple=network.multiple,
        smallest=network.smallest,
        pred=PREDICTIONS[loaded.process.prediction],  # type: ignore[arg-type]
        islands=ISLANDS,
    )


def _streams(schedule: Schedule, size: Size) -> dict[str, tuple[int, ...]]:
    """The start is always noised; steps draw where a row says so."""
    steps = {"step": (len(schedule.rows), CHANNELS, *size)} if any(row.noisy for row in schedule.rows) else {}
    return {"start": (CHANNELS, *size), **steps}
