"""Multiplications of each stage of OSEDiff, counted by PyTorch on networks without weights."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from contenders.osediff_checkpoint import Sizes
from contenders.osediff_feeds import STAGES, stage_feed
from lqhq.export.families.osediff.clip_text import ClipText, text_shape
from lqhq.export.families.osediff.network import OseDiff
from lqhq.export.families.osediff.one_step import StepConstants
from lqhq.export.families.osediff.oracle import PlainDecode, PlainDenoise, PlainEncode

__all__ = ["stage_macs"]


def stage_macs(sizes: Sizes, side: int) -> dict[str, int]:
    """By stage, for an image of `side` x `side` latents; matrix products and convolutions, attention's among them."""
    width = sizes.unet["cross_attention_dim"]
    with torch.device("meta"), torch.no_grad():
        networks = SimpleNamespace(
            unet=UNet2DConditionModel(**sizes.unet),
            vae=AutoencoderKL(**sizes.vae),
            constants=StepConstants(0.1, 0.9),
            scaling=1.0,
        )
        model = cast(OseDiff, networks)
        stages: dict[str, nn.Module] = {
            "text": ClipText(text_shape("text", sizes.text)),
            "encode": PlainEncode(model),
            "denoise": PlainDenoise(model),
            "decode": PlainDecode(model),
        }
        counts = {}
        for role in STAGES:
            feed = [torch.from_numpy(array).to("meta") for array in stage_feed(role, side, width, sizes.words).values()]
            with FlopCounterMode(display=False) as counter:
                stages[role].eval()(*feed)
            counts[role] = counter.get_total_flops() // 2  # it counts products and sums
    return counts
