"""Exact attention whose memory does not grow with the image: queries a chunk at a time, against all keys.

64 heads over the 16384 tokens of a 512 px tile have 69 GB of scores. In a graph the chunks are the rounds of one
`Loop` of the standard's, which ONNX Runtime runs and TensorRT parses (its parser refuses `Scan`); all heads go through
a round together, so that a GPU has work enough. PyTorch's exporter knows no such loop: the traced network calls an
operator of our own, `lqhq::attend`, and `TRANSLATIONS` says which nodes it stands for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor
from torch.onnx._internal.exporter import _core

__all__ = ["MOST_SCORES", "TRANSLATIONS", "attend", "attended"]

# Scores at a time, of all heads: 64 MiB of float32. Half or twice as many are as fast on a CPU.
MOST_SCORES = 1 << 24


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`softmax(q k^T) v` of `q` `[N, heads, T, D]`, `k` and `v` `[N, heads, S, D]`, to `[N, heads, T, D]`.

    The scale of scores is already in `q` and `k`. Softmax is in float32 whatever the type. While a network is traced
    this is one operator, `lqhq::attend`; else it is `attended`.
    """
    if torch.compiler.is_exporting():
        return torch.ops.lqhq.attend(q, k, v)  # type: ignore[no-any-return]
    return attended(q, k, v)


def attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`attend` in PyTorch, by as many chunks as the graph has."""
    scores = math.prod(q.shape[:3]) * k.shape[2]
    chunks = max(1, -(-scores // MOST_SCORES))
    parts = []
    for part in torch.split(q, -(-q.shape[2] // chunks), dim=2):
        weights = (part @ k.transpose(-1, -2)).float().softmax(-1).to(v.dtype)
        parts.append(weights @ v)
    return torch.cat(parts, dim=2)


@torch.library.custom_op("lqhq::attend", mutates_args=())
def _attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return attended(q, k, v)


@_attend.register_fake
def _(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.empty_like(q)


class _Nodes:
    """Nodes in the making; every value has a type, which the count of a graph's operators reads."""

    def __init__(self, add: Callable[[ir.Node], None]) -> None:
        self._add = add

    def op(self, kind: str, *inputs: ir.Value, dtype: ir.DataType = ir.DataType.INT64, **attributes: Any) -> ir.Value:
        """One node with one output of type `dtype`."""
        node = ir.Node("", kind, inputs, ir.convenience.convert_attributes(attributes), num_outputs=1)
        (output,) = node.outputs
        output.type = ir.TensorType(dtype)
        self._add(node)
        return output

    def whole(self, *values: int) -> ir.Value:
        """An int64 constant `[len(values)]`."""
        return self.op("Constant", value=ir.tensor(np.array(values, np.int64)))


def _translated(q: ir.Value, k: ir.Value, v: ir.Value) -> ir.Value:
    """The nodes of `attend`. `q`'s tokens are filled up to chunks of one length, by less than one token a chunk."""
    tracer = _core.current_tracer
    assert tracer is not None  # the exporter calls this
    nodes = _Nodes(tracer.nodes.append)
    dtype = q.dtype
    assert dtype is not None
    op, whole = nodes.op, nodes.whole
    one, two, three = whole(1), whole(2), whole(3)

    # A chunk has ceil(T / ceil(all scores / MOST_SCORES)) queries, and there are ceil(T / that) of them.
    shape = op("Shape", q)
    tokens = op("Slice", shape, two, three)
    wide = op("Slice", op("Shape", k), two, three)
    scores = op("Mul", op("ReduceProd", op("Slice", shape, whole(0), three), keepdims=1), wide)
    chunks = op("Div", op("Add", scores, whole(MOST_SCORES - 1)), whole(MOST_SCORES))
    length = op("Div", op("Sub", op("Add", tokens, chunks), one), chunks)
    count = op("Div", op("Sub", op("Add", tokens, length), one), length)
    grown = op("Sub", op("Mul", count, length), tokens)

    pads = op("Concat", whole(0, 0, 0, 0, 0, 0), grown, whole(0), axis=0)
    padded = op("Pad", q, pads, dtype=dtype)
    split = op("Concat", whole(0, 0), count, length, whole(-1), axis=0)
    rows = op("Transpose", op("Reshape", padded, split, dtype=dtype), perm=(2, 0, 1, 3, 4), dtype=dtype)
    keys = op("Transpose", k, perm=(0, 1, 3, 2), dtype=dtype)

    going = op("Constant", value=ir.tensor(np.array(True)), dtype=ir.DataType.BOOL)
    rounds = op("Squeeze", count)
    found = op("Loop", rounds, going, body=_body(rows, keys, v), dtype=dtype)
    joined = op("Concat", whole(0, 0), op("Mul", count, length), whole(-1), axis=0)
    flat = op("Reshape", op("Transpose", found, perm=(1, 2, 0, 3, 4), dtype=dtype), joined, dtype=dtype)
    return op("Slice", flat, whole(0), tokens, two, dtype=dtype)


def _body(rows: ir.Value, keys: ir.Value, v: ir.Value) -> ir.Graph:
    """One round: the chunk of queries of its number, against all keys."""
    dtype = rows.dtype
    assert dtype is not None
    made: list[ir.Node] = []
    op = _Nodes(made.append).op
    index = _input("round", ir.DataType.INT64)
    going = _input("going", ir.DataType.BOOL)
    q = op("Gather", rows, index, axis=0, dtype=dtype)
    scores = op("MatMul", q, keys, dtype=dtype)
    if dtype != ir.DataType.FLOAT:
        scores = op("Cast", scores, to=ir.DataType.FLOAT.value, dtype=ir.DataType.FLOAT)
    weights = op("Softmax", scores, axis=-1, dtype=ir.DataType.FLOAT)
    if dtype != ir.DataType.FLOAT:
        weights = op("Cast", weights, to=dtype.value, dtype=dtype)
    mixed = op("MatMul", weights, v, dtype=dtype)
    goes_on = op("Identity", going, dtype=ir.DataType.BOOL)
    return ir.Graph([index, going], [goes_on, mixed], nodes=made, name="chunk")


def _input(name: str, dtype: ir.DataType) -> ir.Value:
    return ir.Value(name=name, type=ir.TensorType(dtype), shape=ir.Shape([]))


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {torch.ops.lqhq.attend.default: _translated}
