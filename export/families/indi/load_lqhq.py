"""Format `lqhq`: lqhq's own folder, config.json and model.safetensors. The demo model is stored so.

config.json: {"format": "lqhq-indi", "network": "film_resnet", "width", "blocks", "time_width", "fold"} and
lqhq's own keys ("time_scale", "scale", "resize", "schedules", ...), see `lqhq.export.settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta

from lqhq.export.families.indi.film_resnet import FilmResNet
from lqhq.export.families.indi.network_config import NetworkConfig, check_channels, need, typed
from lqhq.export.families.indi.tile_hints import network
from lqhq.export.family import Format, Network, Weights
from lqhq.export.state_dict import fill, rows

__all__ = ["LQHQ"]

OVERLAP = 64  # most of the reach of the demo network, 79 pixels; weights at its rim are near zero

Width = Annotated[int, Meta(ge=1, le=1 << 14)]


class FilmConfig(NetworkConfig, frozen=True, kw_only=True):
    format: Literal["lqhq-indi"]
    network: Literal["film_resnet"]
    width: Width | None = None
    blocks: Annotated[int, Meta(ge=0, le=1000)] | None = None
    time_width: Width | None = None
    fold: Annotated[int, Meta(ge=1, le=16)] | None = None


def claims(weights: Weights) -> bool:
    return weights.config.get("format") == "lqhq-indi" or {"head.weight", "tail.weight", "time.0.weight"} <= set(
        weights.tensors
    )


def load(weights: Weights, config: Mapping[str, Any]) -> Network:
    given = typed(FilmConfig, config, "lqhq")
    for key in ("width", "blocks", "time_width", "fold"):
        need(key, getattr(given, key), "lqhq")
    width, blocks, time_width, fold = given.width or 1, given.blocks or 0, given.time_width or 1, given.fold or 1
    cells = fold * fold
    inputs, outputs = (
        rows(weights.where, weights.tensors, f"{name}.weight", dim) for name, dim in (("head", 1), ("tail", 0))
    )
    if inputs == outputs == 6 * cells:
        check_channels(weights.where, 6, 6)
    module = FilmResNet(width=width, blocks=blocks, time_width=time_width, fold=fold)
    fill(weights.where, module, weights.tensors)
    # One folded pixel per convolution, and the cell that a pixel shares. The overlap covers what has not faded.
    reach = (2 * blocks + 3) * fold + fold - 1
    return network(module, multiple=fold, overlap=OVERLAP, reach=reach)


LQHQ = Format(name="lqhq", about="lqhq's own folder: config.json and model.safetensors", claims=claims, load=load)
