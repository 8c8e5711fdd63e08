"""What a base model's config.json files must say: Stable Diffusion's own networks, of any widths and depths."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from lqhq.export.foreign_text import printable
from lqhq.runtime.errors import CheckpointError

__all__ = ["MOST", "NEED_BASE", "UNET", "VAE", "check_unet", "check_vae", "constructor_settings", "whole"]

NEED_BASE = (
    "Give the diffusers folder of Stable Diffusion 2.1 base (512 pixels), the model that OSEDiff was trained on."
)
# What the deployed forms of the networks are written for; None stands for a key that is absent, too. Settings that
# are not named here change only sizes, which the weights confirm, or nothing in a forward pass.
UNET: Mapping[str, tuple[Any, ...]] = {
    "act_fn": ("silu",),
    "addition_embed_type": (None,),
    "attention_type": ("default",),
    "center_input_sample": (False,),
    "class_embed_type": (None,),
    "conv_in_kernel": (3,),
    "conv_out_kernel": (3,),
    "cross_attention_norm": (None,),
    "downsample_padding": (1,),
    "dual_cross_attention": (False,),
    "encoder_hid_dim": (None,),
    "encoder_hid_dim_type": (None,),
    "flip_sin_to_cos": (True,),
    "freq_shift": (0,),
    "mid_block_only_cross_attention": (None, False),
    "mid_block_scale_factor": (1,),
    "mid_block_type": ("UNetMidBlock2DCrossAttn",),
    "num_class_embeds": (None,),
    "only_cross_attention": (False,),
    "resnet_out_scale_factor": (1,),
    "resnet_skip_time_act": (False,),
    "resnet_time_scale_shift": ("default",),
    "time_cond_proj_dim": (None,),
    "time_embedding_act_fn": (None,),
    "time_embedding_type": ("positional",),
    "timestep_post_act": (None,),
}
VAE: Mapping[str, tuple[Any, ...]] = {
    "act_fn": ("silu",),
    "in_channels": (3,),
    "latents_mean": (None,),
    "latents_std": (None,),
    "mid_block_add_attention": (True,),
    "out_channels": (3,),
    "shift_factor": (None, 0),
    "use_post_quant_conv": (True,),
    "use_quant_conv": (True,),
}
MOST = 256  # layers, heads or groups; what is built grows with them, before a weight is looked at
BLOCKS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "unet": {"down": ("CrossAttnDownBlock2D", "DownBlock2D"), "up": ("CrossAttnUpBlock2D", "UpBlock2D")},
    "vae": {"down": ("DownEncoderBlock2D",), "up": ("UpDecoderBlock2D",)},
}


def check_unet(where: str, config: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` for a UNet that is not Stable Diffusion's, and say whose it may be."""
    kind = config.get("_class_name", "UNet2DConditionModel")
    if kind != "UNet2DConditionModel":
        raise _fault(f"{where}: _class_name", printable(repr(kind), 60), "UNet2DConditionModel")
    if config.get("addition_embed_type") == "text_time":
        raise _fault(f"{where}: addition_embed_type", "'text_time': Stable Diffusion XL", "none")
    inputs = config.get("in_channels", 4)
    if inputs == 9:
        raise _fault(f"{where}: in_channels", "9: an inpainting model", "4")
    _check(where, config, UNET)
    _check_blocks(where, config, "unet")
    _check_sizes(
        where, config, ("attention_head_dim", "layers_per_block", "norm_num_groups", "transformer_layers_per_block")
    )


def check_vae(where: str, config: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` for anything but an AutoencoderKL as Stable Diffusion 1 and 2 have it."""
    kind = config.get("_class_name", "AutoencoderKL")
    if kind != "AutoencoderKL":
        raise _fault(f"{where}: _class_name", printable(repr(kind), 60), "AutoencoderKL")
    _check(where, config, VAE)
    _check_blocks(where, config, "vae")
    _check_sizes(where, config, ("layers_per_block", "norm_num_groups"))


def constructor_settings(where: str, config: Mapping[str, Any], make: Callable[..., Any]) -> dict[str, Any]:
    """The arguments of `make` out of a config; keys that it does not know are refused, but for diffusers' own."""
    known = frozenset(inspect.signature(make).parameters)
    unknown = sorted(key for key in config if key not in known and not key.startswith("_"))
    if unknown:
        names = ", ".join(printable(key, 40) for key in unknown[:8])
        raise CheckpointError(
            where,
            found=f"unknown keys {names}",
            expected="a config.json as diffusers writes it",
            mend="Remove them, or install the diffusers that knows them.",
        )
    return {key: value for key, value in config.items() if key in known}


def whole(where: str, config: Mapping[str, Any], key: str, *, most: int = 1 << 20) -> int:
    """A positive whole number of a config. Raises `CheckpointError`."""
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise _fault(f"{where}: {key}", printable(repr(value), 60), f"a whole number from 1 to {most}")
    return value


def _check(where: str, config: Mapping[str, Any], allowed: Mapping[str, tuple[Any, ...]]) -> None:
    for key, values in allowed.items():
        if key in config and config[key] not in values:
            found = printable(repr(config[key]), 60)
            raise _fault(f"{where}: {key}", found, " or ".join(repr(value) for value in values))


def _check_sizes(where: str, config: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    """Numbers, or lists of them, that a constructor would take whatever they are; and epsilons."""
    for key in keys:
        value = config.get(key, 1)
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, int) or isinstance(one, bool) or not 1 <= one <= MOST:
                raise _fault(f"{where}: {key}", printable(repr(value), 60), f"whole numbers from 1 to {MOST}")
    epsilon = config.get("norm_eps", 1e-5)
    if not isinstance(epsilon, float) or not 0 < epsilon < 1:
        raise _fault(f"{where}: norm_eps", printable(repr(epsilon), 60), "a number between 0 and 1")


def _check_blocks(where: str, config: Mapping[str, Any], network: str) -> None:
    for way, allowed in BLOCKS[network].items():
        key = f"{way}_block_types"
        blocks = config.get(key)
        if not isinstance(blocks, list) or not blocks or not all(block in allowed for block in blocks):
            raise _fault(f"{where}: {key}", printable(repr(blocks), 200), f"a list of {' and '.join(allowed)}")


def _fault(where: str, found: object, expected: str) -> CheckpointError:
    return CheckpointError(where, found=str(found), expected=expected, mend=NEED_BASE)
