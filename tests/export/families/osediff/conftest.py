"""The golden model, and synthetic ones of any widths and ranks: a base folder, and a checkpoint as OSEDiff has it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lqhq.export.families.osediff.clip_text import ClipText, text_shape
from lqhq.export.families.osediff.network import OseDiff, load_osediff

DATA = Path(__file__).parents[3] / "data" / "osediff-tiny"
UNET = {
    "_class_name": "UNet2DConditionModel",
    "block_out_channels": [8, 16],
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "attention_head_dim": [2, 4],
    "cross_attention_dim": 12,
    "use_linear_projection": True,
}
VAE = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [8, 16],
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "layers_per_block": 1,
    "norm_num_groups": 4,
}
TEXT = {
    "model_type": "clip_text_model",
    "hidden_act": "quick_gelu",
    "hidden_size": 12,
    "intermediate_size": 20,
    "num_attention_heads": 3,
    "num_hidden_layers": 2,
    "vocab_size": 40,
    "max_position_embeddings": 77,
    "layer_norm_eps": 1e-5,
}
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "clip_sample": False,
    "trained_betas": None,
}


def randomised(network: nn.Module, seed: int) -> nn.Module:
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=draw) + (parameter.ndim == 1))
    return network.eval().requires_grad_(False)


def write_json(file: Path, value: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(value))


def write_base(folder: Path, *, unet: dict[str, Any] | None = None, vae: dict[str, Any] | None = None) -> None:
    """A folder as diffusers writes it, with random weights."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    parts = {"unet": UNET | (unet or {}), "vae": VAE | (vae or {}), "text_encoder": TEXT}
    for name, config in parts.items():
        write_json(folder / name / "config.json", config)
    write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULER)
    (folder / "tokenizer").mkdir()
    plain = {name: {k: v for k, v in parts[name].items() if k != "_class_name"} for name in ("unet", "vae")}
    networks = {
        "unet/diffusion_pytorch_model": randomised(UNet2DConditionModel(**plain["unet"]), 1),
        "vae/diffusion_pytorch_model": randomised(AutoencoderKL(**plain["vae"]), 2),
        "text_encoder/model": randomised(ClipText(text_shape("", TEXT)), 3),
    }
    for name, network in networks.items():
        prefix = "text_model." if name.startswith("text") else ""
        tensors = {prefix + key: tensor.contiguous() for key, tensor in network.state_dict().items()}
        save_file(tensors, folder / f"{name}.safetensors")


def pair(draw: torch.Generator, layer: nn.Linear | nn.Conv2d, rank: int) -> tuple[Tensor, Tensor]:
    down = 0.1 * torch.randn(rank, *layer.weight.shape[1:], generator=draw)
    up = 0.1 * torch.randn(layer.weight.shape[0], rank, *(1,) * (layer.weight.ndim - 2), generator=draw)
    return down, up


def checkpoint(unet: nn.Module, vae: nn.Module, *, rank_unet: int, rank_vae: int, seed: int = 4) -> dict[str, Any]:
    """What OSEDiff's training saves for these networks; VAE modules are listed twice, as there."""
    draw = torch.Generator().manual_seed(seed)
    lists: dict[str, list[str]] = {"encoder": [], "decoder": [], "others": []}
    state: dict[str, dict[str, Tensor]] = {"unet": {}, "vae": {}}
    for name, layer in unet.named_modules():
        if not isinstance(layer, nn.Linear | nn.Conv2d) or "time_emb" in name:
            continue
        kind = "encoder" if name.startswith(("down", "conv_in")) else "others"
        kind = "decoder" if name.startswith(("up", "conv_out")) else kind
        lists[kind].append(name)
        for half, tensor in zip("AB", pair(draw, layer, rank_unet), strict=True):
            state["unet"][f"{name}.lora_{half}.default_{kind}.weight"] = tensor
        if name == "conv_in":
            assert layer.bias is not None
            for key, own in (("weight", layer.weight), ("bias", layer.bias)):
                state["unet"][f"conv_in.base_layer.{key}"] = own + 0.1 * torch.randn(own.shape, generator=draw)
    listed = []
    for name, layer in vae.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d) and (name.startswith("encoder.") or name == "quant_conv"):
            listed += [name, name]
            for half, tensor in zip("AB", pair(draw, layer, rank_vae), strict=True):
                state["vae"][f"{name}.lora_{half}.default_encoder.weight"] = tensor
    return {
        "rank_unet": rank_unet,
        "rank_vae": rank_vae,
        **{f"unet_lora_{kind}_modules": names for kind, names in lists.items()},
        "vae_lora_encoder_modules": listed,
        "state_dict_unet": state["unet"],
        "state_dict_vae": state["vae"],
    }


@pytest.fixture(scope="session")
def data() -> Path:
    return DATA


@pytest.fixture(scope="session")
def case() -> Callable[[str], dict[str, Any]]:
    """`case("unet")` is a golden case as tensors, with images as `[1, 3, H, W]` in [-1, 1]."""

    def tensors(name: str) -> dict[str, Any]:
        with np.load(DATA / f"case-{name}.npz") as arrays:
            found: dict[str, Any] = {
                key: torch.from_numpy(arrays[key]) for key in arrays.files if arrays[key].dtype.kind in "fiu"
            }
        for key in [key for key in found if key in ("image_u8", "upscaled_u8")]:
            found[key.removesuffix("_u8") + "_lq"] = (found[key].permute(2, 0, 1)[None] / 255) * 2 - 1
        return found

    return tensors


@pytest.fixture(scope="session")
def golden() -> OseDiff:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # diffusers' own, while it is imported
        return load_osediff(DATA / "osediff.pkl", DATA / "base")


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Path]]:
    """`synthetic(rank_unet=6, unet={...})` gives paths of a checkpoint and of a base folder, both small."""

    def made(
        *,
        rank_unet: int = 6,
        rank_vae: int = 3,
        unet: dict[str, Any] | None = None,
        vae: dict[str, Any] | None = None,
        change: Callable[[dict[str, Any]], None] = lambda content: None,
    ) -> tuple[Path, Path]:
        from lqhq.export.families.osediff.base_folder import load_base

        root = tmp_path_factory.mktemp("synthetic")
        write_base(root / "base", unet=unet, vae=vae)
        base = load_base(root / "base")
        content = checkpoint(base.unet, base.vae, rank_unet=rank_unet, rank_vae=rank_vae)
        change(content)
        torch.save(content, root / "osediff.pkl")
        return root / "osediff.pkl", root / "base"

    return made
