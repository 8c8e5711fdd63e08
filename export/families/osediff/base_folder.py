"""The base model: a diffusers folder of Stable Diffusion, read into networks without OSEDiff's changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from lqhq.export.config_file import read_json_object
from lqhq.export.families.osediff.base_config import NEED_BASE, check_unet, check_vae, constructor_settings
from lqhq.export.families.osediff.base_scheduler import read_constants
from lqhq.export.families.osediff.base_weights import Part, built, current_names, filled, read_part, source_file
from lqhq.export.families.osediff.clip_text import ClipText, clip_names, text_shape
from lqhq.export.families.osediff.one_step import StepConstants
from lqhq.export.foreign_text import printable
from lqhq.runtime.errors import CheckpointError
from lqhq.runtime.manifest import SourceFile

__all__ = ["SCALING", "Base", "load_base"]

TOKENIZER = ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json")
SCALING = 0.18215  # what AutoencoderKL takes where its config is silent: Stable Diffusion's


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """Networks in float32 and eval mode (`unet`, `vae`: diffusers' classes), and what the files beside them say.

    A latent is the posterior's value times `scaling`, and one of its pixels is `factor` image pixels wide.
    """

    where: str
    unet: nn.Module
    vae: nn.Module
    text: ClipText
    constants: StepConstants
    scaling: float
    channels: int
    factor: int
    tokenizer: Path
    sources: tuple[SourceFile, ...]
    notes: tuple[str, ...]


def load_base(folder: Path) -> Base:
    """Read a diffusers folder. Raises `CheckpointError` for missing parts and for other models than SD 2.1's kind."""
    notes: list[str] = []
    scheduler, scheduler_source = _scheduler(folder)
    tokenizer = folder / "tokenizer"
    if not tokenizer.is_dir():
        raise CheckpointError(
            str(folder), found="no sub-folder tokenizer/", expected="unet/, vae/, tokenizer/ ...", mend=NEED_BASE
        )
    # One after the other, the largest first: what a file takes besides its network is given back before the next.
    unet, unet_config, unet_sources = _unet(folder, notes)
    vae, vae_config, vae_sources = _vae(folder, notes)
    text, text_sources = _text(folder, notes)
    _check_together(folder, unet_config, vae_config, text)
    return Base(
        where=str(folder),
        unet=unet,
        vae=vae,
        text=text,
        constants=scheduler,
        scaling=_scaling(folder, vae_config),
        channels=unet_config.get("in_channels", 4),
        factor=2 ** (len(vae_config["down_block_types"]) - 1),
        tokenizer=tokenizer,
        sources=(*unet_sources, *vae_sources, *text_sources, scheduler_source, *_tokenizer_sources(tokenizer)),
        notes=tuple(notes),
    )


def _tokenizer_sources(folder: Path) -> tuple[SourceFile, ...]:
    return tuple(source_file(folder / name, f"tokenizer/{name}") for name in TOKENIZER if (folder / name).is_file())


def _scheduler(folder: Path) -> tuple[StepConstants, SourceFile]:
    file = folder / "scheduler" / "scheduler_config.json"
    source = source_file(file, "scheduler/scheduler_config.json")
    return read_constants(str(file), read_json_object(file)), source


def _unet(folder: Path, notes: list[str]) -> tuple[nn.Module, dict[str, Any], tuple[SourceFile, ...]]:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel  # takes seconds

    part = read_part(folder, "unet", notes)
    check_unet(part.where, part.config)
    settings = constructor_settings(part.where, part.config, UNet2DConditionModel.__init__)
    network = built(part.where, lambda: UNet2DConditionModel(**settings))
    filled(part.where, network, part.tensors)
    return network, settings, part.sources


def _vae(folder: Path, notes: list[str]) -> tuple[nn.Module, dict[str, Any], tuple[SourceFile, ...]]:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    part = read_part(folder, "vae", notes)
    check_vae(part.where, part.config)
    settings = constructor_settings(part.where, part.config, AutoencoderKL.__init__)
    network = built(part.where, lambda: AutoencoderKL(**settings))
    part.tensors = current_names(part.where, part.tensors, notes)
    filled(part.where, network, part.tensors)
    return network, settings, part.sources


def _text(folder: Path, notes: list[str]) -> tuple[ClipText, tuple[SourceFile, ...]]:
    part: Part = read_part(folder, "text_encoder", notes)
    shape = text_shape(part.where, part.config)
    network = built(part.where, lambda: ClipText(shape))
    assert isinstance(network, ClipText)
    part.tensors = clip_names(part.tensors)
    filled(part.where, network, part.tensors)
    return network, part.sources


def _check_together(folder: Path, unet: dict[str, Any], vae: dict[str, Any], text: ClipText) -> None:
    wide, latent = unet.get("cross_attention_dim", 1280), vae.get("latent_channels", 4)
    if wide != text.shape.width:
        raise CheckpointError(
            f"{folder}: unet/config.json: cross_attention_dim",
            found=printable(repr(wide), 60),
            expected=f"{text.shape.width}, the width of text_encoder/",
            mend=NEED_BASE,
        )
    if not unet.get("in_channels", 4) == unet.get("out_channels", 4) == latent:
        raise CheckpointError(
            f"{folder}: unet/config.json: in_channels",
            found=f"{unet.get('in_channels', 4)} in, {unet.get('out_channels', 4)} out, of a VAE with {latent}",
            expected="one number of latent channels",
            mend=NEED_BASE,
        )


def _scaling(folder: Path, vae: dict[str, Any]) -> float:
    value = vae.get("scaling_factor", SCALING)
    if not isinstance(value, float | int) or isinstance(value, bool) or not 0 < value < 1000:
        raise CheckpointError(
            f"{folder}: vae/config.json: scaling_factor",
            found=printable(repr(value), 60),
            expected="a positive number",
            mend=NEED_BASE,
        )
    return float(value)
