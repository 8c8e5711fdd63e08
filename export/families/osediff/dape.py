"""DAPE (SeeSR, arXiv 2311.16518): a LoRA that makes RAM read degraded images, merged into RAM's weights.

loralib's conventions: W + B @ A * alpha / rank, with alpha 1. Of a block's joint projection, queries and values have
a pair each, of half the rows of A and of B; keys have none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from lqhq.export.state_dict import shown
from lqhq.runtime.errors import CheckpointError

__all__ = ["merge_dape"]

ALPHA = 1.0
ADAPTED = re.compile(
    r"(visual_encoder\.layers\.\d+\.blocks\.\d+\.attn\.qkv"
    r"|tagging_head\.encoder\.layer\.\d+\.crossattention\.self\.(query|key))\.weight"
)
# The captioning parts carry a LoRA as well, which tagging does not see - with one exception, see `_refuse_shared`.
CAPTIONS = ("tag_encoder.", "text_decoder.")
TWIN, HEAD = "tag_encoder.", "tagging_head."


def merge_dape(where: str, lora: Mapping[str, Tensor], tensors: dict[str, Tensor], notes: list[str]) -> None:
    """Replace every adapted weight of `tensors`, under RAM's names, by what it is with its pair of `lora`.

    Raises `CheckpointError` where a pair is missing, halved, left over or of a wrong shape, and for a pair of the tag
    encoder that the original would add to a weight of the tagging head.
    """
    modules = [name.removesuffix(".weight") for name in tensors if ADAPTED.fullmatch(name)]
    wanted = {f"{module}.lora_{side}" for module in modules for side in "AB"}
    found = {name for name in lora if not (name.startswith(CAPTIONS) and ".lora_" in name)}
    if missing := sorted(wanted - found):
        raise _fault(where, f"{len(missing)} of {len(wanted)} entries missing: {shown(missing)}", "a pair for each")
    if foreign := sorted(found - wanted):
        raise _fault(where, f"{len(foreign)} entries that fit nothing: {shown(foreign)}", "entries of a LoRA for RAM")
    _refuse_shared(where, lora, modules)
    with torch.no_grad():
        for module in modules:
            down, up = (lora[f"{module}.lora_{side}"].float() for side in "AB")
            name = f"{module}.weight"
            joint = module.endswith(".qkv")
            tensors[name] = tensors[name].float() + _change(where, module, down, up, tensors[name], joint)
    notes.append(f"merged DAPE's {len(modules)} pairs; left {len(lora) - len(wanted)} of the captioning parts")


def _change(where: str, module: str, down: Tensor, up: Tensor, weight: Tensor, joint: bool) -> Tensor:
    """What is added to `weight` `[out, in]`, for `down` `[rank, in]` and `up` `[out, rank]`, or those of two pairs."""
    pairs = 2 if joint else 1
    rank = up.shape[1] if up.dim() == 2 else 0
    out = weight.shape[0] // 3 * 2 if joint else weight.shape[0]
    if not rank or down.shape != (pairs * rank, weight.shape[1]) or up.shape != (out, rank):
        raise _fault(
            where,
            f"{module}.lora_A {list(down.shape)} and .lora_B {list(up.shape)}",
            f"[{pairs if joint else ''}rank, {weight.shape[1]}] and [{out}, rank]",
        )
    scale = ALPHA / rank
    if not joint:
        return up @ down * scale
    half = out // 2
    keys = torch.zeros_like(weight[:half], dtype=torch.float32)
    return torch.cat([up[:half] @ down[:rank] * scale, keys, up[half:] @ down[rank:] * scale])


def _refuse_shared(where: str, lora: Mapping[str, Tensor], modules: list[str]) -> None:
    """The tag encoder's first layers share weights with the tagging head, but have pairs of their own.

    loralib would add those to the shared weight, too. They get no gradient in training, so they are zero.
    """
    for module in modules:
        up = lora.get(f"{module.replace(HEAD, TWIN, 1)}.lora_B") if module.startswith(HEAD) else None
        if up is not None and bool(up.any()):
            raise _fault(
                where,
                f"{module.replace(HEAD, TWIN, 1)}.lora_B, which is not zero",
                "zeros: the original adds it to the tagging head as well",
            )


def _fault(where: str, found: str, expected: str) -> CheckpointError:
    return CheckpointError(where, found=found, expected=expected, mend="Give SeeSR's DAPE.pth, undamaged.")
