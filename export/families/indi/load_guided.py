"""Format `guided`: a state dict of guided-diffusion's UNetModel, and its flags as JSON.

Structure is read from the weights and compared with the flags. Heads and attention order must come from the flags.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from msgspec import Meta

from lqhq.export.families.indi.guided_unet import GROUPS, GuidedShape, GuidedUNet
from lqhq.export.families.indi.network_config import (
    NetworkConfig,
    check_channels,
    check_told,
    need,
    refuse_classes,
    typed,
)
from lqhq.export.families.indi.tile_hints import ATTENTION, NORM, network
from lqhq.export.family import Format, Network, Weights
from lqhq.export.state_dict import fill, rows
from lqhq.runtime.errors import CheckpointError

__all__ = ["GUIDED", "GuidedFlags", "attention_heads", "claims", "unet_of"]

Count = Annotated[int, Meta(ge=1, le=1 << 14)]
# channel_mult "" stands for these, by image_size.
MULTS = {512: (0.5, 1, 1, 2, 2, 4, 4), 256: (1, 1, 2, 2, 4, 4), 128: (1, 1, 2, 3, 4), 64: (1, 2, 3, 4)}


class GuidedFlags(NetworkConfig, frozen=True, kw_only=True):
    """The flags of that code base. Those of its DDPM process and of training say nothing about F(x, t)."""

    image_size: Count | None = None
    num_channels: Count | None = None
    num_res_blocks: Count | None = None
    num_heads: Count | None = None
    num_heads_upsample: int | None = None
    num_head_channels: int | None = None
    attention_resolutions: str | tuple[int, ...] | None = None
    channel_mult: str | tuple[float, ...] | None = None
    dropout: float | None = None
    class_cond: bool | None = None
    use_checkpoint: bool | None = None
    use_scale_shift_norm: bool | None = None
    resblock_updown: bool | None = None
    use_fp16: bool | None = None
    use_new_attention_order: bool | None = None
    learn_sigma: bool | None = None
    diffusion_steps: int | None = None
    noise_schedule: str | None = None
    timestep_respacing: str | tuple[int, ...] | None = None
    use_kl: bool | None = None
    predict_xstart: bool | None = None
    rescale_timesteps: bool | None = None
    rescale_learned_sigmas: bool | None = None


def claims(weights: Weights) -> bool:
    """Whether the tensors are named as a guided-diffusion UNetModel's."""
    return {"time_embed.0.weight", "input_blocks.0.0.weight", "out.2.weight"} <= set(weights.tensors)


def load(weights: Weights, config: Mapping[str, Any]) -> Network:
    flags = typed(GuidedFlags, config, "guided")
    module, shape = unet_of(weights, flags, check_channels)
    heads = attention_heads(shape)
    return network(module, multiple=2 ** (len(shape.widths) - 1), deviations=(NORM, ATTENTION), heads=heads)


def unet_of(
    weights: Weights, flags: GuidedFlags, check: Callable[[str, int, int], None]
) -> tuple[GuidedUNet, GuidedShape]:
    """The network of `weights`, strictly filled; `check(where, inputs, outputs)` judges its channels.

    Raises `CheckpointError` for flags that are missing or do not fit, and for a network that wants a class.
    """
    where, tensors = weights.where, weights.tensors
    head_width = flags.num_head_channels if (flags.num_head_channels or -1) > 0 else 0
    if not head_width:
        need("num_heads", flags.num_heads, "guided")
    need("use_new_attention_order", flags.use_new_attention_order, "guided")
    heads, heads_up = flags.num_heads or 1, flags.num_heads_upsample or -1
    shape = _shape(
        weights,
        heads=heads,
        heads_up=heads_up if heads_up > 0 else heads,
        head_width=head_width or 0,
        new_order=bool(flags.use_new_attention_order),
    )
    _check_flags(where, flags, shape)
    refuse_classes(where, bool(flags.class_cond) or "label_emb.weight" in tensors)
    check(where, shape.in_channels, shape.out_channels)
    _check_divisions(where, shape)
    module = GuidedUNet(shape)
    fill(where, module, tensors)
    return module, shape


def attention_heads(shape: GuidedShape) -> dict[int, int]:
    """Heads by level; the middle block always attends, at the deepest level."""
    levels = shape.attention | {len(shape.widths) - 1}
    return {level: max(shape.heads_at(shape.widths[level], up=up) for up in (False, True)) for level in levels}


def _shape(weights: Weights, *, heads: int, heads_up: int, head_width: int, new_order: bool) -> GuidedShape:
    """Read the structure from the names and shapes. The decoder's up blocks mark where levels end."""
    where, tensors = weights.where, weights.tensors

    def has(name: str) -> bool:
        return f"{name}.weight" in tensors

    count = 1 + max((int(name.split(".")[1]) for name in tensors if _is_block(name, "output_blocks")), default=-1)
    plain = [k for k in range(count) if any(has(f"output_blocks.{k}.{i}.conv") for i in (1, 2))]
    inside = [k for k in range(count) if any(has(f"output_blocks.{k}.{i}.in_layers.2") for i in (1, 2))]
    levels = len(plain or inside) + 1
    blocks = count // levels - 1
    ends = [(level + 1) * (blocks + 1) - 1 for level in range(levels - 1)]
    if blocks < 1 or count != levels * (blocks + 1) or (plain or inside) != ends or (plain and inside):
        raise CheckpointError(
            where,
            found=f"{count} output blocks with up-sampling in {plain or inside}",
            expected="levels of equal length",
            mend="The checkpoint is incomplete or of another network.",
        )
    starts = [1 + level * (blocks + 1) for level in range(levels)]
    widths = tuple(rows(where, tensors, f"input_blocks.{start}.0.out_layers.3.weight") for start in starts)
    return GuidedShape(
        in_channels=rows(where, tensors, "input_blocks.0.0.weight", 1),
        out_channels=rows(where, tensors, "out.2.weight"),
        width=rows(where, tensors, "time_embed.0.weight", 1),
        widths=widths,
        blocks=blocks,
        attention=frozenset(i for i, start in enumerate(starts) if has(f"input_blocks.{start}.1.qkv")),
        scale_shift=rows(where, tensors, "input_blocks.1.0.emb_layers.1.weight") == 2 * widths[0],
        updown=bool(inside),
        heads=heads,
        heads_up=heads_up,
        head_width=head_width,
        new_order=new_order,
    )


def _is_block(name: str, kind: str) -> bool:
    parts = name.split(".")
    return parts[0] == kind and len(parts) > 2 and parts[1].isdecimal() and len(parts[1]) < 6


def _check_flags(where: str, flags: GuidedFlags, shape: GuidedShape) -> None:
    levels = len(shape.widths)
    updown = flags.resblock_updown if levels > 1 else None
    told: dict[str, tuple[object, object]] = {
        "num_channels": (flags.num_channels, shape.width),
        "num_res_blocks": (flags.num_res_blocks, shape.blocks),
        "channel_mult": (_widths(flags, shape.width), shape.widths),
        "attention_resolutions": (_attention(flags, levels), tuple(sorted(2**level for level in shape.attention))),
        "use_scale_shift_norm": (flags.use_scale_shift_norm, shape.scale_shift),
        "resblock_updown": (updown, shape.updown),
        "learn_sigma": (flags.learn_sigma, shape.out_channels == 2 * shape.in_channels),
    }
    check_told(where, told)


def _numbers(key: str, value: str | tuple[float, ...]) -> tuple[float, ...]:
    if not isinstance(value, str):
        return value
    try:
        return tuple(float(part) for part in value.split(","))
    except ValueError as error:
        raise CheckpointError(
            f"config of format guided: {key}",
            found=repr(value),
            expected="numbers with commas between them",
            mend=f'For example "{key}": "1,2,4".',
        ) from error


def _widths(flags: GuidedFlags, width: int) -> tuple[int, ...] | None:
    """The level widths that channel_mult stands for; None where the flags do not say."""
    if flags.channel_mult is None:
        return None
    mults = _numbers("channel_mult", flags.channel_mult) if flags.channel_mult else MULTS.get(flags.image_size or 0)
    if mults is None:
        raise CheckpointError(
            "config of format guided: channel_mult",
            found=f"an empty channel_mult with image_size {flags.image_size}",
            expected=f"a list, or an image_size of {', '.join(map(str, MULTS))}",
            mend="Give the flags that the checkpoint was trained with.",
        )
    return tuple(int(mult * width) for mult in mults)


def _attention(flags: GuidedFlags, levels: int) -> tuple[int, ...] | None:
    """The down-factors with attention: image_size // resolution, where the network has such a level."""
    if flags.attention_resolutions is None:
        return None
    need("image_size", flags.image_size, "guided")
    sizes = _numbers("attention_resolutions", flags.attention_resolutions) if flags.attention_resolutions else ()
    factors = {(flags.image_size or 0) // int(size) for size in sizes if int(size) > 0}
    return tuple(sorted(2**level for level in range(levels) if 2**level in factors))


def _check_divisions(where: str, shape: GuidedShape) -> None:
    """GroupNorm's groups and the heads must divide the widths that they act on."""
    attended = [width for level, width in enumerate(shape.widths) if level in shape.attention] + [shape.widths[-1]]
    heads = [shape.head_width] if shape.head_width else [shape.heads, shape.heads_up]
    bad = [f"{width} channels in {GROUPS} groups" for width in shape.widths if width % GROUPS]
    bad += [f"{width} channels, heads {head}" for width in attended for head in heads if width % head]
    if bad:
        raise CheckpointError(
            where,
            found="; ".join(bad[:4]),
            expected="widths that divide evenly",
            mend="Correct num_heads, num_heads_upsample or num_head_channels.",
        )


GUIDED = Format(name="guided", about="guided-diffusion UNetModel state dict with flags", claims=claims, load=load)
