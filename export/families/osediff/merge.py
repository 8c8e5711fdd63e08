"""Puts what OSEDiff trained into the base model's weights. After that there is no adapter any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from lqhq.export.families.osediff.adapter import LORA_ALPHA, Adapter, Pair
from lqhq.export.state_dict import shown
from lqhq.runtime.errors import CheckpointError

__all__ = ["merge", "merge_pairs"]

# SD 1's width of the text, which tells the two apart for whoever takes the wrong folder.
SD1_TEXT = 768
MEND = (
    "Give with --base the diffusers folder that this checkpoint was trained on; OSEDiff's own are made for Stable "
    "Diffusion 2.1 base (512 pixels)."
)


@torch.no_grad()
def merge(adapter: Adapter, unet: nn.Module, vae: nn.Module) -> None:
    """Change `unet` and `vae` (diffusers' classes, float32, their weights their own) in place.

    The UNet's `conv_in` is replaced first. Raises `CheckpointError`, with nothing changed, where the adapter is not of
    these networks: a module that they do not have, one that the adapter says nothing about, another shape.
    """
    both = [(adapter.unet, unet, list(_unet_targets(unet))), (adapter.vae, vae, list(_vae_targets(vae)))]
    for (pairs, network, targets), name in zip(both, ("unet", "vae"), strict=True):
        _check_names(f"{adapter.where}: {name}", pairs, targets)
        kind = _kind(network)
        for module, pair in pairs.items():
            _check_fit(f"{adapter.where}: {name}: {module}", pair, _layer(network, module), kind)
    conv_in = _layer(unet, "conv_in").state_dict()
    trained = dict(zip(("weight", "bias"), adapter.conv_in, strict=True))
    for name, tensor in trained.items():
        if tensor.shape != conv_in[name].shape:
            where = f"{adapter.where}: unet: conv_in.base_layer.{name}"
            raise _wrong(where, str(list(tensor.shape)), f"{list(conv_in[name].shape)}, as in the base")
    for name, tensor in trained.items():
        conv_in[name].copy_(tensor)
    merge_pairs(adapter.unet, unet, adapter.rank_unet)
    merge_pairs(adapter.vae, vae, adapter.rank_vae)


@torch.no_grad()
def merge_pairs(pairs: Mapping[str, Pair], network: nn.Module, rank: int) -> None:
    """W += (8 / r) * B A in float32 (Hu et al., arXiv 2106.09685, section 4.1), for linear layers and convolutions."""
    scale = LORA_ALPHA / rank
    for module, pair in pairs.items():
        weight = _layer(network, module).weight
        weight.add_((pair.up.flatten(1) @ pair.down.flatten(1)).reshape(weight.shape), alpha=scale)


def _layer(network: nn.Module, name: str) -> nn.Linear | nn.Conv2d:
    layer = network.get_submodule(name)
    assert isinstance(layer, nn.Linear | nn.Conv2d)  # only targets are asked for
    return layer


def _unet_targets(unet: nn.Module) -> Iterator[str]:
    """The original trains every linear layer and convolution but those of the time embedding."""
    for name, module in unet.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and "time_emb" not in name:
            yield name


def _vae_targets(vae: nn.Module) -> Iterator[str]:
    """The original trains the whole encoder."""
    for name, module in vae.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and (name.startswith("encoder.") or name == "quant_conv"):
            yield name


def _check_names(where: str, pairs: Mapping[str, Pair], targets: list[str]) -> None:
    if unknown := sorted(set(pairs) - set(targets)):
        raise _wrong(where, f"pairs for {shown(unknown)}", f"pairs for the {len(targets)} layers of the base")
    if untouched := [name for name in targets if name not in pairs]:
        raise _wrong(where, f"no pair for {shown(untouched)}", f"pairs for the {len(targets)} layers of the base")


def _check_fit(where: str, pair: Pair, layer: nn.Linear | nn.Conv2d, kind: str) -> None:
    weight: Tensor = layer.weight
    down, up = pair.down, pair.up
    if down.shape[1:] == weight.shape[1:] and up.shape[0] == weight.shape[0] and down.ndim == weight.ndim:
        return
    sizes = f"lora_A {list(down.shape)}, lora_B {list(up.shape)}"
    raise _wrong(where, f"{sizes}, and a layer of {list(weight.shape)} in the base{kind}", "shapes that fit")


def _kind(network: nn.Module) -> str:
    """What the base seems to be, where that may be the whole mistake."""
    texts = (layer for name, layer in network.named_modules() if name.endswith("attn2.to_k"))
    sd1 = any(isinstance(layer, nn.Linear) and layer.in_features == SD1_TEXT for layer in texts)
    return " (which looks like Stable Diffusion 1)" if sd1 else ""


def _wrong(where: str, found: str, expected: str) -> CheckpointError:
    return CheckpointError(where, found=f"{found}: an adapter of another base model", expected=expected, mend=MEND)
