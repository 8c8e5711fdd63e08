"""Half-precision networks on a CPU at a bearable speed, watched for their largest values.

PyTorch's own half convolutions and matrix products on a CPU are about 170 times as slow as float32's. Here these few
operators are computed in float32 and rounded to half, which is what a GPU's matrix units do: they multiply halves and
add in float32. Everything else runs in PyTorch's half as it is. An overflow shows: what is rounded past 65504 is
infinite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["HALVES", "HalfArithmetic"]

HALVES = (torch.float16, torch.bfloat16)
_aten = torch.ops.aten
PRODUCTS = {
    _aten.convolution.default,
    _aten.mm.default,
    _aten.bmm.default,
    _aten.addmm.default,
    _aten.baddbmm.default,
}
ATTENTION = {_aten._scaled_dot_product_flash_attention_for_cpu.default}  # what PyTorch's attention is on a CPU
# Sums that PyTorch keeps in float32 and an engine may not: of what count values, from the result.
SUMS: dict[Any, Callable[[Tensor, float], Tensor]] = {
    _aten.mean.dim: lambda mean, count: mean * count,
    _aten.linalg_vector_norm.default: lambda norm, count: norm * norm,
}


class HalfArithmetic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, products of halves are computed in float32 and rounded, and largest values are kept.

    `native` leaves the products to PyTorch, too. `largest` maps the path of a module and an operator to the largest
    absolute value that it gave in half precision, infinite for an infinity or a NaN; see `watching`.
    """

    def __init__(self, *, native: bool = False) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.native = native
        self.largest: dict[tuple[str, str], float] = {}
        self._path = [""]

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        named = dict(kwargs or {})
        if func in ATTENTION and not self.native and args[0].dtype in HALVES:
            q, k, v = args[:3]
            ours = self._attention(str(func.overloadpacket.__name__), q, k, v, named.get("scale"))
            if not _masked(args, named):
                return ours  # else PyTorch's own result; of ours the scores are noted
        if func in PRODUCTS and not self.native and (half := _only_half(args, named)):
            wide_args, wide_named = pytree.tree_map_only(Tensor, torch.Tensor.float, (args, named))
            found = func(*wide_args, **wide_named).to(half)
        else:
            found = func(*args, **named)
        for tensor in pytree.tree_leaves(found):
            if isinstance(tensor, Tensor) and tensor.dtype in HALVES and tensor.numel() and not _is_view(func):
                self._note(str(func.overloadpacket.__name__), tensor)
                if func in SUMS:
                    self._note("sum inside", SUMS[func](tensor.float(), args[0].numel() / tensor.numel()))
        return found

    def _attention(self, operator: str, q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> tuple[Tensor, Tensor]:
        """As the exported graph has it: q and k scaled alike, scores and weights rounded. A fused one hides scores."""
        half, root = q.dtype, (q.shape[-1] ** -0.5 if scale is None else scale) ** 0.5
        scores = ((q * root).float() @ (k * root).float().transpose(-1, -2)).to(half)
        self._note("attention scores", scores)
        out = (scores.float().softmax(-1).to(half).float() @ v.float()).to(half)
        self._note(operator, out)
        return out, scores.float().logsumexp(-1)

    def _note(self, operator: str, tensor: Tensor) -> None:
        value = float(tensor.abs().max())
        key = (self._path[-1], operator)
        self.largest[key] = max(self.largest.get(key, 0.0), value if math.isfinite(value) else math.inf)

    @contextmanager
    def watching(self, module: nn.Module) -> Iterator[None]:
        """Note under whose submodule's path each value arises, by `module`'s own names."""
        handles = []
        for name, child in module.named_modules():
            handles.append(child.register_forward_pre_hook(lambda *_, name=name: self._path.append(name)))
            handles.append(child.register_forward_hook(self._left, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _left(self, *_: object) -> None:
        self._path.pop()


def _only_half(args: Any, named: Any) -> torch.dtype | None:
    """The one half type of all tensors; None where they are mixed, which PyTorch then refuses."""
    found = {leaf.dtype for leaf in pytree.tree_leaves((args, named)) if isinstance(leaf, Tensor)}
    (dtype,) = found if len(found) == 1 else (None,)
    return dtype if dtype in HALVES else None


def _masked(args: tuple[Any, ...], named: Mapping[str, Any]) -> bool:
    """Attention with dropout, a causal order or a mask: left to PyTorch."""
    return any(args[3:]) or named.get("attn_mask") is not None


def _is_view(func: Any) -> bool:
    return bool(func.is_view)
