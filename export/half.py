"""Half precision is set in the PyTorch module before it is traced: weights in half, declared islands in float32.

The module casts where the two meet, so the traced graph is explicitly typed and every engine builds the same
arithmetic from it. (Converters of finished float32 graphs stumble over the exporter's own casts.)
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lqhq.export.family import RoleGraph
from lqhq.runtime.errors import OptionError
from lqhq.runtime.precision import Precision

__all__ = ["DTYPES", "HalfModule", "at_precision", "check_islands", "declared_islands", "halved"]

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class HalfModule(nn.Module):
    """What `halved` gives: float32 in and out, half precision inside."""

    def __init__(self, module: nn.Module, islands: tuple[str, ...]) -> None:
        super().__init__()
        self.module, self.islands = module, islands

    def forward(self, *inputs: Tensor) -> Any:
        return _cast(self.module(*inputs), torch.float32)

    def release(self) -> None:
        """Give its own weights back, when it has run for the last time; those of islands are the float32 module's."""
        for parameter in self.parameters():
            parameter.data = parameter.data.new_empty(0)


def at_precision(graph: RoleGraph, precision: Precision, islands: Collection[str] | None = None) -> RoleGraph:
    """`graph` with its module in `precision`; `islands` take the place of those that the family declares.

    Raises `OptionError` for an island that is no submodule.
    """
    if precision == "fp32":
        return graph
    module = graph.half_form()
    if islands is None:
        islands = declared_islands(module, graph.islands)
    check_islands(graph, module, islands)
    return replace(graph, module=halved(module, DTYPES[precision], islands))


def check_islands(graph: RoleGraph, module: nn.Module, islands: Collection[str]) -> None:
    """Raise `OptionError` for an island that is no submodule of `module`, the half form of `graph`."""
    runs = {name for name, one in module.named_modules() if not isinstance(one, nn.ModuleList | nn.ModuleDict)}
    if foreign := sorted(set(islands) - runs):
        raise OptionError(
            f"precision plan: {graph.role}",
            found=f"an island {foreign[0]!r}",
            expected="names of this network's modules, not of lists of them",
            mend="Take the plan that `lqhq parity --bisect-precision` wrote for this very checkpoint.",
        )


def declared_islands(module: nn.Module, kinds: tuple[type[nn.Module], ...]) -> tuple[str, ...]:
    """Paths of the outermost submodules that are of `kinds`; "" where the module itself is."""
    found: list[str] = []
    for name, child in module.named_modules():
        if isinstance(child, kinds) and not any(_inside(name, island) for island in found):
            found.append(name)
    return tuple(found)


def halved(module: nn.Module, dtype: torch.dtype, islands: Collection[str]) -> HalfModule:
    """A copy of `module` in `dtype`, but for `islands`, paths of submodules that stay in float32.

    A module with weights of its own casts what it is given to their type; an island casts what it is given to float32
    and what it gives to `dtype`. Buffers stay in float32: they are tables (frequencies of a time embedding), and what
    is computed from them is small. Raises `KeyError` for an island that is no submodule.
    """
    inner = _copied(module, dtype, islands).eval()
    modules = dict(inner.named_modules())
    for island in islands:
        modules[island].register_forward_pre_hook(_Casts(torch.float32), with_kwargs=True)
        if island:  # what the whole gives is given as it is
            modules[island].register_forward_hook(_Returns(dtype))
    for name, child in modules.items():
        own = list(child.parameters(recurse=False))
        if not own or any(_inside(name, island) for island in islands):
            continue
        child.register_forward_pre_hook(_Casts(dtype), with_kwargs=True)
    return HalfModule(inner, tuple(islands))


def _copied(module: nn.Module, dtype: torch.dtype, islands: Collection[str]) -> nn.Module:
    """A copy whose weights are in `dtype` but for those in `islands`, which are the same tensors: no more memory than
    the weights in `dtype` is taken at any time."""
    known: dict[int, Any] = {}
    for name, child in module.named_modules():
        kept = any(_inside(name, island) for island in islands)
        for parameter in child.parameters(recurse=False):
            value = parameter.data if kept else parameter.data.to(dtype)
            known.setdefault(id(parameter), nn.Parameter(value, requires_grad=False))
    return copy.deepcopy(module, known)


def _inside(name: str, island: str) -> bool:
    return not island or name == island or name.startswith(f"{island}.")


def _cast(value: Any, dtype: torch.dtype) -> Any:
    """Floating tensors, alone or in a tuple; everything else as it is."""
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() else value
    return tuple(_cast(item, dtype) for item in value) if isinstance(value, tuple) else value


class _Casts:
    """Before a module runs."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def __call__(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return _cast(args, self.dtype), {key: _cast(value, self.dtype) for key, value in kwargs.items()}


class _Returns:
    """After a module ran."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype

    def __call__(self, module: nn.Module, args: Any, output: Any) -> Any:
        return _cast(output, self.dtype)
