"""Copies of networks whose attention goes by chunks of queries, so that no image's scores are held at once."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from lqhq.export.chunked_attention import attend
from lqhq.export.families.indi.guided_unet import Attention

__all__ = ["chunked_diffusers", "chunked_guided", "shared_copy"]


def shared_copy(network: nn.Module) -> Any:
    """A copy of `network` with the very same weights and buffers."""
    known: dict[int, Any] = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, known)


def chunked_diffusers(network: nn.Module) -> nn.Module:
    """A copy of a network of diffusers' attention modules, which take another processor each."""
    made = shared_copy(network)
    for module in made.modules():
        # A spatial norm takes what no such U-Net gives its attention; it keeps diffusers' own processor.
        if hasattr(module, "to_q") and getattr(module, "spatial_norm", None) is None:
            module.set_processor(_Processor())
    return made  # type: ignore[no-any-return]


class _Processor:
    """What diffusers' `Attention` runs for `hidden_states` `[N, C, H, W]`, every pixel a token."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: None = None,
        attention_mask: None = None,
        temb: Tensor | None = None,  # named, or diffusers warns at each call; only a spatial norm takes it
    ) -> Tensor:
        x = hidden_states.flatten(2)
        tokens = (x if attn.group_norm is None else attn.group_norm(x)).transpose(1, 2)
        q, k, v = (
            part(tokens).unflatten(2, (attn.heads, -1)).transpose(1, 2) for part in (attn.to_q, attn.to_k, attn.to_v)
        )
        root = attn.scale**0.5  # in both: half precision overflows later
        mixed = attend(q * root, k * root, v).transpose(1, 2).flatten(2)
        out = attn.to_out[0](mixed).transpose(1, 2).unflatten(2, hidden_states.shape[2:])
        if attn.residual_connection:
            out = out + hidden_states
        return out / attn.rescale_output_factor  # type: ignore[no-any-return]


def chunked_guided(network: nn.Module) -> nn.Module:
    """A copy of guided-diffusion's U-Net."""
    made = shared_copy(network)
    for module in list(made.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Attention):
                setattr(module, name, _Guided(child))
    return made  # type: ignore[no-any-return]


class _Guided(nn.Module):
    """`Attention` of guided-diffusion's U-Net, `[N, C, H, W]` to the same."""

    def __init__(self, plain: Attention) -> None:
        super().__init__()
        self.plain = plain

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.transpose(-1, -2) for part in self.plain.split(x.flatten(2)))
        mixed = attend(q, k, v).transpose(-1, -2).flatten(1, 2)
        return x + self.plain.proj_out(mixed).unflatten(2, x.shape[2:])  # type: ignore[no-any-return]
