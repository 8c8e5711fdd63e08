"""An OSEDiff checkpoint of any size with random weights, in the official forms: a diffusers folder and an osediff.pkl.

What the model makes means nothing; that it loads, exports and runs as the released one does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn

from contenders.sd_networks import DECODER, SEED, UNET, randomised
from lqhq.export.families.osediff.clip_text import ClipText, text_shape

__all__ = ["FULL", "TINY", "Sizes", "write_adapter", "write_base"]

LORA_SCALE = 0.02  # of the random pairs: a merged weight differs from its base by about a percent
UNET_BLOCKS = {
    "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
}
SCHEDULER = {
    "_class_name": "PNDMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}


class Sizes(NamedTuple):
    """Configs of the networks; `words` is the size of the vocabulary."""

    unet: dict[str, Any]
    vae: dict[str, Any]
    text: dict[str, Any]
    words: int
    rank: int = 4


def _text(width: int, layers: int, heads: int, words: int) -> dict[str, Any]:
    return {
        "architectures": ["CLIPTextModel"],
        "bos_token_id": words - 2,
        "eos_token_id": words - 1,
        "hidden_act": "gelu",
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 77,
        "model_type": "clip_text_model",
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "pad_token_id": 0,
        "vocab_size": words,
    }


VAE = DECODER | {"scaling_factor": 0.18215, "norm_num_groups": 32, "layers_per_block": 2}
FULL = Sizes(UNET | UNET_BLOCKS, VAE, _text(1024, 23, 16, 49408), 49408)
TINY = Sizes(
    UNET
    | UNET_BLOCKS
    | {"block_out_channels": (16, 16, 32, 32), "attention_head_dim": (2, 2, 4, 4), "cross_attention_dim": 32}
    | {"layers_per_block": 1, "norm_num_groups": 8},
    VAE | {"block_out_channels": (32, 32, 32, 32), "layers_per_block": 1},
    _text(32, 2, 2, 600),
    600,
)


def write_base(folder: Path, sizes: Sizes) -> None:
    """The diffusers folder: unet, vae, text_encoder, tokenizer, scheduler. One network is in memory at a time."""
    networks = {
        "unet": (lambda: UNet2DConditionModel(**sizes.unet), {"_class_name": "UNet2DConditionModel"} | sizes.unet),
        "vae": (lambda: AutoencoderKL(**sizes.vae), {"_class_name": "AutoencoderKL"} | sizes.vae),
    }
    for name, (make, config) in networks.items():
        _write(folder / name, config, randomised(make), "diffusion_pytorch_model.safetensors", "")
    shape = text_shape("text_encoder", sizes.text)
    _write(folder / "text_encoder", sizes.text, randomised(lambda: ClipText(shape)), "model.safetensors", "text_model.")
    _json(folder / "scheduler/scheduler_config.json", SCHEDULER)
    _json(folder / "model_index.json", {"_class_name": "StableDiffusionPipeline"})
    _write_tokenizer(folder / "tokenizer", sizes.words)


def write_adapter(file: Path, base: Path, sizes: Sizes) -> None:
    """osediff.pkl for the base in that folder."""
    with torch.device("meta"):
        unet, vae = UNet2DConditionModel(**sizes.unet), AutoencoderKL(**sizes.vae)
    draw = torch.Generator().manual_seed(SEED)
    groups = {name: [one for one in _touched(unet) if _group(one) == name] for name in ("encoder", "decoder", "others")}
    vae_modules = [
        name
        for name, one in vae.named_modules()
        if isinstance(one, nn.Conv2d | nn.Linear) and (name.startswith("encoder.") or name == "quant_conv")
    ]
    pairs = dict(_pairs(unet, {one: f"default_{name}" for name, some in groups.items() for one in some}, sizes, draw))
    conv = unet.conv_in
    pairs["conv_in.base_layer.weight"] = _drawn(tuple(conv.weight.shape), conv.weight[0].numel() ** -0.5, draw)
    pairs["conv_in.base_layer.bias"] = torch.zeros(conv.weight.shape[0])
    torch.save(
        {
            "rank_unet": sizes.rank,
            "rank_vae": sizes.rank,
            **{f"unet_lora_{name}_modules": some for name, some in groups.items()},
            "vae_lora_encoder_modules": vae_modules,
            "state_dict_unet": pairs,
            "state_dict_vae": dict(_pairs(vae, dict.fromkeys(vae_modules, "default_encoder"), sizes, draw)),
        },
        file,
    )


def _touched(unet: nn.Module) -> Iterator[str]:
    """Names of the layers that OSEDiff trains: all but the time embedding's."""
    for name, one in unet.named_modules():
        if isinstance(one, nn.Conv2d | nn.Linear) and "time_emb" not in name:
            yield name


def _group(name: str) -> str:
    if name.startswith("down_blocks") or name == "conv_in":
        return "encoder"
    return "decoder" if name.startswith("up_blocks") or name == "conv_out" else "others"


def _pairs(
    network: nn.Module, adapters: dict[str, str], sizes: Sizes, draw: torch.Generator
) -> Iterator[tuple[str, Tensor]]:
    modules = dict(network.named_modules())
    for name, adapter in adapters.items():
        shape = tuple(modules[name].weight.shape)
        inside = shape[1:] if len(shape) == 4 else shape[1:2]
        ones = (1, 1) if len(shape) == 4 else ()
        size = 1.0
        for side in inside:
            size *= side
        yield f"{name}.lora_A.{adapter}.weight", _drawn((sizes.rank, *inside), size**-0.5, draw)
        yield f"{name}.lora_B.{adapter}.weight", _drawn((shape[0], sizes.rank, *ones), LORA_SCALE, draw)


def _drawn(shape: tuple[int, ...], scale: float, draw: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=draw) * scale


def _write(folder: Path, config: dict[str, Any], network: nn.Module, file: str, prefix: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _json(folder / "config.json", config)
    save_file({prefix + name: tensor for name, tensor in network.state_dict().items()}, folder / file)


def _json(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1), encoding="utf-8")


def _write_tokenizer(folder: Path, words: int) -> None:
    """CLIP's form: the bytes, each alone and at the end of a word, merges of these, and two special tokens."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(rest))]
    tokens = [*letters, *(f"{one}</w>" for one in letters)]
    merges = []
    for first in letters:
        for second in tokens:
            if len(tokens) + len(merges) + 2 < words:
                merges.append((first, second))
    tokens += [first + second for first, second in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    _json(folder / "vocab.json", {token: index for index, token in enumerate(tokens)})
    lines = ["#version: 0.2", *(f"{first} {second}" for first, second in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    _json(folder / "special_tokens_map.json", special | {"pad_token": "!"})
    _json(folder / "tokenizer_config.json", {"model_max_length": 77, "tokenizer_class": "CLIPTokenizer", **special})
