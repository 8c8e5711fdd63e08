"""Format `indiunet`: the state dict of an IndiUnet (DoubleConv, Down, Up). It lacks the time scale only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lqhq.export.families.indi.indi_unet import IndiUNet
from lqhq.export.families.indi.network_config import (
    NetworkConfig,
    check_channels,
    check_told,
    refuse_classes,
    typed,
)
from lqhq.export.families.indi.tile_hints import ALIGN_CORNERS, NORM, network
from lqhq.export.family import Format, Network, Weights
from lqhq.export.state_dict import fill, rows

__all__ = ["INDIUNET"]


class IndiUnetConfig(NetworkConfig, frozen=True, kw_only=True):
    """The constructor's arguments; its `image_size` is the width of the first layer."""

    c_in: int | None = None
    c_out: int | None = None
    image_size: int | None = None
    time_dim: int | None = None
    num_classes: int | None = None


def claims(weights: Weights) -> bool:
    return {"inc.double_conv.0.weight", "outc.weight", "down1.emb_layer.1.weight"} <= set(weights.tensors)


def load(weights: Weights, config: Mapping[str, Any]) -> Network:
    given = typed(IndiUnetConfig, config, "indiunet")
    where, tensors = weights.where, weights.tensors
    width, inputs = (rows(where, tensors, "inc.double_conv.0.weight", dim) for dim in (0, 1))
    outputs = rows(where, tensors, "outc.weight")
    time = rows(where, tensors, "down1.emb_layer.1.weight", 1)
    said = {
        "c_in": (given.c_in, inputs),
        "c_out": (given.c_out, outputs),
        "image_size": (given.image_size, width),
        "time_dim": (given.time_dim, time),
    }
    check_told(where, said)
    check_channels(where, inputs, outputs)
    refuse_classes(where, given.num_classes is not None or "label_emb.weight" in tensors)
    module = IndiUNet(in_channels=inputs, out_channels=outputs, width=width, time=time)
    fill(where, module, tensors)
    return network(module, multiple=8, deviations=(NORM, ALIGN_CORNERS))


INDIUNET = Format(name="indiunet", about="IndiUnet state dict", claims=claims, load=load)
