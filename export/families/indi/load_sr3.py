"""Format `sr3`: the state dict of an SR3-style UNet, as in scSplit's InDI, and its JSON config.

The config's network part is {"unet": {...}}. A wrapper's prefix (`denoise_fn.`, `indi1.denoise_fn.`) is chosen
with "key_prefix"; "eps" and "clip_denoised" are lqhq's own keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from lqhq.export.families.indi.network_config import NetworkConfig, check_channels, check_told, need, typed
from lqhq.export.families.indi.sr3_unet import Sr3Shape, Sr3UNet
from lqhq.export.families.indi.tile_hints import ATTENTION, NORM, network
from lqhq.export.family import Format, Network, Weights
from lqhq.export.state_dict import fill, rows
from lqhq.runtime.errors import CheckpointError

__all__ = ["SR3"]

Count = Annotated[int, Meta(ge=1, le=1 << 14)]
Counts = Annotated[tuple[Count, ...], Meta(min_length=1, max_length=12)]


class UnetConfig(NetworkConfig, frozen=True, kw_only=True):
    """The UNet's arguments; both spellings of the multipliers are in use. `dropout` has no effect here."""

    in_channel: Count | None = None
    out_channel: Count | None = None
    inner_channel: Count | None = None
    norm_groups: Count | None = None
    channel_mults: Counts | None = None
    channel_multiplier: Counts | None = None
    attn_res: tuple[int, ...] | int | None = None
    res_blocks: Count | None = None
    dropout: float | None = None
    image_size: Count | None = None


class Sr3Config(NetworkConfig, frozen=True, kw_only=True):
    unet: UnetConfig = msgspec.field(default_factory=UnetConfig)


def claims(weights: Weights) -> bool:
    return {"time_mlp.0.inv_freq", "downs.0.weight", "final_conv.block.3.weight"} <= set(weights.tensors)


def load(weights: Weights, config: Mapping[str, Any]) -> Network:
    unet = typed(Sr3Config, config, "sr3").unet
    where, tensors = weights.where, weights.tensors
    need("unet.norm_groups", unet.norm_groups, "sr3")
    inner, inputs = (rows(where, tensors, "downs.0.weight", dim) for dim in (0, 1))
    outputs = rows(where, tensors, "final_conv.block.3.weight")
    widths, blocks, attention = _levels(where, weights)
    told: dict[str, tuple[object, object]] = {
        "unet.in_channel": (unet.in_channel, inputs),
        "unet.out_channel": (unet.out_channel, outputs),
        "unet.inner_channel": (unet.inner_channel, inner),
        "unet.res_blocks": (unet.res_blocks, blocks),
    }
    for key, mults in (("channel_mults", unet.channel_mults), ("channel_multiplier", unet.channel_multiplier)):
        told[f"unet.{key}"] = (mults and tuple(m * inner for m in mults), widths)
    told["unet.attn_res"] = (_attention_levels(unet, len(widths)), attention)
    check_told(where, {key: (_plain(said), _plain(seen)) for key, (said, seen) in told.items()})
    check_channels(where, inputs, outputs)
    groups = unet.norm_groups or 1
    _check_groups(where, groups, (inner, *widths))
    shape = Sr3Shape(
        in_channels=inputs,
        out_channels=outputs,
        width=inner,
        widths=widths,
        blocks=blocks,
        attention=attention,
        groups=groups,
    )
    module = Sr3UNet(shape)
    fill(where, module, tensors)
    deepest = len(widths) - 1  # the middle always attends there
    heads = dict.fromkeys(attention | {deepest}, 1)
    return network(module, multiple=2**deepest, deviations=(NORM, ATTENTION), heads=heads)


def _levels(where: str, weights: Weights) -> tuple[tuple[int, ...], int, frozenset[int]]:
    """Of the down path: the width of each level, residual blocks per level, and the levels with attention."""
    widths: list[int] = []
    counts = [0]
    attention = set()
    index = 1
    while True:
        if f"downs.{index}.res_block.block2.block.3.weight" in weights.tensors:
            width = rows(where, weights.tensors, f"downs.{index}.res_block.block2.block.3.weight")
            if not counts[-1]:
                widths.append(width)
            counts[-1] += 1
            if f"downs.{index}.attn.qkv.weight" in weights.tensors:
                attention.add(len(counts) - 1)
        elif f"downs.{index}.conv.weight" in weights.tensors:
            counts.append(0)
        else:
            break
        index += 1
    if len(set(counts)) != 1 or not counts[0]:
        raise CheckpointError(
            where,
            found=f"{counts} residual blocks on the levels of the down path",
            expected="the same number, at least one, on each",
            mend="The checkpoint is incomplete or of another network.",
        )
    return tuple(widths), counts[0], frozenset(attention)


def _attention_levels(unet: UnetConfig, levels: int) -> frozenset[int] | None:
    """attn_res are nominal sizes; image_size is halved (rounding down) from level to level."""
    if unet.attn_res is None:
        return None
    need("unet.image_size", unet.image_size, "sr3")
    sizes = (unet.attn_res,) if isinstance(unet.attn_res, int) else unet.attn_res
    return frozenset(level for level in range(levels) if (unet.image_size or 0) >> level in sizes)


def _plain(value: object) -> object:
    """Sets as sorted tuples, which read better in a message."""
    return tuple(sorted(value)) if isinstance(value, frozenset) else value


def _check_groups(where: str, groups: int, widths: tuple[int, ...]) -> None:
    if any(width % groups for width in widths):
        raise CheckpointError(
            f"{where}: unet.norm_groups",
            found=f"{groups} groups for widths {widths}",
            expected="a number that divides every width",
            mend="Give the config that the checkpoint was trained with.",
        )


SR3 = Format(name="sr3", about="SR3-style UNet state dict with JSON config", claims=claims, load=load)
