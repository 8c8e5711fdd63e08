"""A role's PyTorch module behind the contract of engines, so that whole images go through it as through an engine."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Self

import torch

from lqhq.export.family import RoleGraph
from lqhq.export.half import HalfModule
from lqhq.export.half_arithmetic import HalfArithmetic
from lqhq.runtime.session import Feed, Fetch

__all__ = ["TorchSession"]


class TorchSession:
    """`module` with the inputs and outputs of `graph`; in the arithmetic of `half`, which notes largest values."""

    def __init__(self, graph: RoleGraph, module: HalfModule | torch.nn.Module, half: HalfArithmetic) -> None:
        self._graph, self._module, self._half = graph, module, half
        self.largest, self.profiles = None, ()  # any shape
        self._stack = ExitStack()
        self._stack.enter_context(half.watching(module.module if isinstance(module, HalfModule) else module))

    def run(self, feed: Feed) -> Fetch:
        with torch.no_grad(), self._half:
            found = self._module(*(torch.from_numpy(feed[name]) for name in self._graph.inputs))
        tensors = found if isinstance(found, tuple) else (found,)
        return {name: tensor.numpy() for name, tensor in zip(self._graph.outputs, tensors, strict=True)}

    def close(self) -> None:
        self._stack.close()
        self._module = torch.nn.Identity()  # the other may be large

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
