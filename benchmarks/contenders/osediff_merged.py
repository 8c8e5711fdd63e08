"""PyTorch's networks of OSEDiff, one at a time, from weights in which the adapter is merged already.

Loading all of them for each stage would take 5 GB and half a minute, and hide what the stage itself takes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import nn

from contenders.osediff_checkpoint import SCHEDULER, Sizes
from lqhq.export.families.osediff.clip_text import ClipText, text_shape
from lqhq.export.families.osediff.network import OseDiff
from lqhq.export.families.osediff.one_step import step_constants
from lqhq.export.families.osediff.oracle import PlainDecode, PlainDenoise, PlainEncode

__all__ = ["merged_stage", "write_merged"]

NETWORKS = {"text": "text", "encode": "vae", "denoise": "unet", "decode": "vae"}


def write_merged(folder: Path, model: OseDiff) -> None:
    """The networks of `model`, a file each."""
    folder.mkdir(exist_ok=True)
    for name, network in (("unet", model.unet), ("vae", model.vae), ("text", model.text)):
        save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, folder / f"{name}.part")
        (folder / f"{name}.part").replace(folder / f"{name}.safetensors")


def merged_stage(folder: Path, role: str, sizes: Sizes) -> nn.Module:
    """The plain network of `role`; of the VAE only the half that the stage uses stays."""
    name = NETWORKS[role]
    make: dict[str, Callable[[], nn.Module]] = {
        "unet": lambda: UNet2DConditionModel(**sizes.unet),
        "vae": lambda: AutoencoderKL(**sizes.vae),
        "text": lambda: ClipText(text_shape("text", sizes.text)),
    }
    with torch.device("meta"):
        network: Any = make[name]()
    network.load_state_dict(load_file(folder / f"{name}.safetensors"), assign=True)
    network.eval().requires_grad_(False)
    constants = step_constants(SCHEDULER["beta_start"], SCHEDULER["beta_end"], SCHEDULER["num_train_timesteps"])
    parts = cast(OseDiff, SimpleNamespace(**{name: network}, constants=constants, scaling=sizes.vae["scaling_factor"]))
    if role == "text":
        return cast(nn.Module, network)
    if role == "denoise":
        return PlainDenoise(parts)
    if role == "encode":
        del network.decoder, network.post_quant_conv
        return PlainEncode(parts)
    del network.encoder, network.quant_conv
    return PlainDecode(parts)
