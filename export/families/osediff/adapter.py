"""OSEDiff's checkpoint as a value: low-rank pairs by module, and the input convolution that was trained in full."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lqhq.export.families.osediff.adapter_file import MEND, read_adapter_file
from lqhq.export.foreign_text import printable
from lqhq.export.state_dict import shown
from lqhq.runtime.errors import CheckpointError
from lqhq.runtime.manifest import SourceFile

__all__ = ["LORA_ALPHA", "Adapter", "Pair", "load_adapter"]

# peft's default, which the original never sets and no file stores: a pair is scaled by LORA_ALPHA / rank.
LORA_ALPHA = 8
# Which list of modules names those of which peft adapter.
UNET_LISTS = {
    "unet_lora_encoder_modules": "default_encoder",
    "unet_lora_decoder_modules": "default_decoder",
    "unet_lora_others_modules": "default_others",
}
VAE_LISTS = {"vae_lora_encoder_modules": "default_encoder"}
CONV_IN = ("conv_in.base_layer.weight", "conv_in.base_layer.bias")
MOST_GROWTH = 4  # half precision doubles; the rest is for what a small file has around its tensors
HIGHEST_RANK = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A low-rank change: `down` `[r, in]` or `[r, in, k, k]`, `up` `[out, r]` or `[out, r, 1, 1]`; float32."""

    down: Tensor
    up: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """All that OSEDiff trained. `conv_in` are weight and bias that replace the UNet's; a pair comes on top of it."""

    where: str
    rank_unet: int
    rank_vae: int
    unet: Mapping[str, Pair]
    vae: Mapping[str, Pair]
    conv_in: tuple[Tensor, Tensor]
    source: SourceFile


def load_adapter(file: Path) -> Adapter:
    """Read osediff.pkl or osediff_face.pkl; every entry is used exactly once.

    Raises `CheckpointError` for entries that are missing, left over, of another rank or not finite.
    """
    data, source = read_adapter_file(file)
    where = str(file)
    _refuse_shared(where, data, source.bytes)
    rank_unet, rank_vae = (_rank(where, data, key) for key in ("rank_unet", "rank_vae"))
    unet, vae = (_tensors(where, data, key) for key in ("state_dict_unet", "state_dict_vae"))
    absent = [name for name in CONV_IN if name not in unet]
    if absent:
        raise _fault(f"{where}: state_dict_unet", f"no {' and no '.join(absent)}", "the trained input convolution")
    weight, bias = (unet.pop(name) for name in CONV_IN)
    return Adapter(
        where=where,
        rank_unet=rank_unet,
        rank_vae=rank_vae,
        unet=_pairs(f"{where}: state_dict_unet", _modules(where, data, UNET_LISTS), unet, rank_unet),
        vae=_pairs(f"{where}: state_dict_vae", _modules(where, data, VAE_LISTS), vae, rank_vae),
        conv_in=(weight, bias),
        source=source,
    )


def _rank(where: str, data: Mapping[str, Any], key: str) -> int:
    value = data[key]
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= HIGHEST_RANK:
        raise _fault(f"{where}: {key}", printable(repr(value), 60), f"a whole number from 1 to {HIGHEST_RANK}")
    return value


def _refuse_shared(where: str, data: Mapping[str, Any], size: int) -> None:
    """Tensors that lie on one another in the file would come apart as float32, and take any amount of memory."""
    states = [data[key] for key in ("state_dict_unet", "state_dict_vae") if isinstance(data[key], Mapping)]
    wide = sum(4 * one.numel() for state in states for one in state.values() if isinstance(one, Tensor))
    if wide > MOST_GROWTH * size:
        raise _fault(where, f"{wide} bytes of float32 in a file of {size}", "tensors that have room of their own")


def _tensors(where: str, data: Mapping[str, Any], key: str) -> dict[str, Tensor]:
    """A state dict of the file as float32."""
    entries = data[key]
    if not isinstance(entries, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in entries.items()
    ):
        raise _fault(f"{where}: {key}", "something else", "a dict of tensors")
    result = {}
    for name, tensor in entries.items():
        shown_name = f"{where}: {key}: {printable(name)}"
        held = tensor.layout == torch.strided and tensor.device.type == "cpu"
        held = held and tensor.is_floating_point() and not tensor.is_quantized
        if not held or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise _fault(shown_name, f"a {tensor.layout} {tensor.dtype} tensor", "a dense tensor of floats")
        result[name] = tensor.to(torch.float32)
        if not bool(torch.isfinite(result[name]).all()):
            raise _fault(shown_name, "NaN or infinite values", "finite numbers")
    return result


def _modules(where: str, data: Mapping[str, Any], lists: Mapping[str, str]) -> dict[str, str]:
    """The peft adapter of each listed module. The original's list of VAE modules names most of them twice."""
    result: dict[str, str] = {}
    for key, adapter in lists.items():
        names = data[key]
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise _fault(f"{where}: {key}", f"a {type(names).__name__}", "a list of names")
        for name in dict.fromkeys(names):
            if name in result:
                raise _fault(
                    f"{where}: {key}", f"{printable(name)}, which is in another list, too", "each module in one list"
                )
            result[name] = adapter
    return result


def _pairs(where: str, modules: Mapping[str, str], tensors: dict[str, Tensor], rank: int) -> dict[str, Pair]:
    names = {module: [f"{module}.lora_{half}.{modules[module]}.weight" for half in "AB"] for module in modules}
    wanted = [name for both in names.values() for name in both]
    if missing := [name for name in wanted if name not in tensors]:
        raise _fault(where, f"no {shown(missing)}", "lora_A and lora_B of every listed module")
    if left := set(tensors) - set(wanted):
        raise _fault(where, f"{shown(sorted(left))}, of no listed module", "lora_A and lora_B of every listed module")
    result = {}
    for module, (a, b) in names.items():
        down, up = tensors[a], tensors[b]
        if down.ndim not in (2, 4) or up.ndim != down.ndim or up.shape[2:] not in ((), (1, 1)):
            raise _fault(f"{where}: {module}", _shapes(down, up), "[r, in] and [out, r], or those of convolutions")
        if down.shape[0] != rank or up.shape[1] != rank:
            raise _fault(f"{where}: {module}", _shapes(down, up), f"rank {rank}, as the file says")
        result[module] = Pair(down=down, up=up)
    return result


def _shapes(down: Tensor, up: Tensor) -> str:
    return f"lora_A {list(down.shape)}, lora_B {list(up.shape)}"


def _fault(where: str, found: str, expected: str) -> CheckpointError:
    return CheckpointError(where, found=found, expected=expected, mend=MEND)
