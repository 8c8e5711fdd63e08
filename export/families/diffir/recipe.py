"""How a DiffIR network becomes a bundle. The weights tell everything: what they restore, how much larger, from what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lqhq.export.families.diffir.cpen import WIDTH
from lqhq.export.families.diffir.graphs import graphs
from lqhq.export.families.diffir.load_official import claims, load
from lqhq.export.families.diffir.network import DiffIR
from lqhq.export.family import Arrays, Format, Network, Perturb, Recipe, Weights
from lqhq.export.settings import Settings, Task
from lqhq.export.tile_hints import tile_hints
from lqhq.runtime import manifest as m
from lqhq.runtime.errors import CheckpointError, OptionError
from lqhq.runtime.geometry import round_up

__all__ = ["OFFICIAL", "recipe"]

CELL = 8  # DIRformer halves the folded image three times
# Pixels of the image that the network is given. The seam test with a trained small x4 (benchmarks/results/
# guided_tiles.md): tiles of 256 differ from the whole image by 0.06 levels rms, of 64 by 0.37; an overlap of 16 hides
# the border, and more gains nothing. Released networks are deeper, hence twice that.
PREFERRED, OVERLAP = 256, 32
# Cells of CPEN's folded grid in a tile of sums: with the reach of released networks, 14 to 22 cells, at most a third of
# the work is done twice; features take 256 MB of float32 values.
REDUCED = 256
DEVIATIONS = (
    "channel attention: its statistics are the tile's, not the image's, at whatever overlap (the prior is the image's)",
)
OWN = ("name", "task", "tiles", "licences", "state_key", "key_prefix")  # settings that are not in the weights


def _loaded(weights: Weights, config: Mapping[str, Any]) -> Network:
    if config:
        raise CheckpointError(
            "--config",
            found=f"keys {', '.join(sorted(config))}",
            expected=f"none but {', '.join(OWN)}: the weights tell the rest",
            mend="Remove them.",
        )
    notes: list[str] = []
    module = load(weights.where, weights.tensors, notes)
    shape = module.G.shape
    multiple = CELL * shape.fold
    return Network(
        module=module,
        channels=shape.channels,
        multiple=multiple,
        smallest=multiple,
        preferred=round_up(PREFERRED, multiple),
        overlap=round_up(OVERLAP, multiple),
        deviations=DEVIATIONS,
        notes=tuple(notes),
    )


OFFICIAL = Format(name="official", about="state dict of the official code's stage 2", claims=claims, load=_loaded)


def recipe(network: Network, settings: Settings) -> Recipe:
    """Raises `OptionError` for settings that the weights already tell."""
    _refuse_told(settings)
    module = network.module
    assert isinstance(module, DiffIR)  # this family's only format makes nothing else
    shape, multiple = module.G.shape, network.multiple
    masked = shape.channels == 4

    def restore(prepared: Tensor, schedule: str | None, noise: Arrays, perturb: Perturb) -> Tensor:
        condition = perturb(module.condition(prepared))
        prior = perturb(module.prior(condition, torch.from_numpy(noise["prior"])[None]))
        return perturb(module.G(prepared, prior))

    # The official scripts pad to a multiple only, by reflection; those of inpainting repeat the edge, and truncate.
    pad = m.Pad(mode="symmetric" if masked else "reflect", multiple=multiple, smallest=multiple)
    return Recipe(
        graphs=graphs(module, multiple),
        task=settings.task or _task(module),
        scale=shape.scale,
        pixels=m.Pixels(range=(0.0, 1.0), order="rgb"),
        prepare=(m.MaskOut(), pad) if masked else (pad,),
        finish=(m.Crop(), m.Composite(), m.Quantize(mode="truncate"))
        if masked
        else (m.Crop(), m.Quantize(mode="round")),
        tiles=tile_hints(
            settings.tiles,
            multiple=multiple,
            smallest=multiple,
            preferred=network.preferred,
            overlap=network.overlap,
            reach=network.reach,
            deviations=network.deviations,
        ),
        reduction=_reduction(module, multiple),
        restore=restore,
        streams=lambda schedule, size: {"prior": (WIDTH,)},
    )


def _task(module: DiffIR) -> Task:
    shape = module.G.shape
    if shape.tail:
        return "super-resolution" if shape.scale > 1 else "restoration"
    return "deblurring" if shape.residual else "inpainting"


def _reduction(module: DiffIR, multiple: int) -> m.Reduction:
    """CPEN's convolutions, 2 per residual block and 4 more, each look one cell of the folded grid around."""
    blocks = sum(hasattr(layer, "body") for layer in module.condition.E)
    fold = module.condition.fold
    reach = round_up((2 * blocks + 4) * fold, multiple)
    return m.Reduction(reach=reach, preferred=round_up(max(REDUCED * fold, 4 * reach), multiple))


def _refuse_told(settings: Settings) -> None:
    for key in Settings.__struct_fields__:
        if key not in OWN and getattr(settings, key) is not None:
            raise OptionError(
                key,
                found="a value, in --config or as a flag",
                expected="none: the weights of a DiffIR tell all that it needs",
                mend="Leave it out.",
            )
