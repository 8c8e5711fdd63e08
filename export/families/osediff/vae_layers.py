"""Layers of Stable Diffusion's VAE as nodes of a graph; each refuses a layer of another kind than it writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lqhq.export.segment_graph import SegmentGraph
from lqhq.runtime.errors import CheckpointError
from lqhq.runtime.segment_plan import KEYS_AT_ONCE

__all__ = ["attended", "check", "conv", "larger", "normed", "sampled", "silu", "smaller", "token_canvas"]

LOG_VARIANCE = (-30.0, 20.0)  # limits of the posterior's: AutoencoderKL, DiagonalGaussianDistribution


def normed(graph: SegmentGraph, x: str, norm: Any) -> str:
    """`(x - mean) * rstd * gamma + beta` as one product and one sum: `x * a + (beta - mean * a)`, as PyTorch does."""
    check(isinstance(norm, nn.GroupNorm) and norm.affine, "norm", norm, "GroupNorm with weights")
    a = graph.op("Mul", "rstd", graph.constant(_array(norm.weight)))
    b = graph.op("Sub", graph.constant(_array(norm.bias)), graph.op("Mul", "mean", a))
    plane = graph.axis(2, 3)
    a, b = (graph.op("Unsqueeze", value, plane) for value in (a, b))
    return graph.op("Add", graph.op("Mul", x, a), b)


def silu(graph: SegmentGraph, x: str) -> str:
    """`x * sigmoid(x)`."""
    return graph.op("Mul", x, graph.op("Sigmoid", x))


def conv(graph: SegmentGraph, x: str, conv: Any, pads: tuple[int, int, int, int] | None = None) -> str:
    """A convolution; `pads` are top, left, bottom and right, where they are not its own."""
    check(isinstance(conv, nn.Conv2d) and conv.groups == 1 and conv.dilation == (1, 1), "conv", conv, "plain Conv2d")
    high, wide = conv.padding
    weights = [graph.constant(_array(conv.weight)), graph.constant(_bias(conv))]
    return graph.op(
        "Conv",
        x,
        *weights,
        kernel_shape=conv.kernel_size,
        strides=conv.stride,
        pads=pads or (high, wide, high, wide),
    )


def token_canvas(graph: SegmentGraph, x: str, attention: Any) -> str:
    """Queries, times the scale of scores, keys and values, `[N, 3C, H, W]`."""
    linear = [attention.to_q, attention.to_k, attention.to_v]
    scales = [np.float32(attention.scale), np.float32(1), np.float32(1)]
    weight = np.concatenate([_array(one.weight) * scale for one, scale in zip(linear, scales, strict=True)])
    bias = np.concatenate([_bias(one) * scale for one, scale in zip(linear, scales, strict=True)])
    return graph.op("Conv", x, graph.constant(weight[:, :, None, None]), graph.constant(bias))


def attended(graph: SegmentGraph, attention: Any) -> str:
    """`to_out(softmax(q^T k) v) + skip` of tokens: `q` and `skip` `[N, C, T]`, `k` and `v` `[N, C, S]`.

    Some keys at a time, so that scores stay in a core's cache; the softmax is exact all the same: sums are taken about
    the largest score so far, and rescaled when a larger one comes (M. Milakov, N. Gimelshein, arXiv 1805.02867).
    """
    q, v = (graph.op("Transpose", name, perm=(0, 2, 1)) for name in ("q", "v"))
    keys = graph.op("Gather", graph.op("Shape", "k"), graph.constant(np.array(2)))
    most, one = graph.constant(np.array(KEYS_AT_ONCE)), graph.constant(np.array(1))
    rounds = graph.op("Div", graph.op("Sub", graph.op("Add", keys, most), one), most)
    none = graph.op("Mul", q, graph.number(0))
    nothing = graph.op("ReduceSum", none, graph.axis(2), keepdims=1)
    lowest = graph.op("Add", nothing, graph.number(-np.inf))
    _, total, mixed = graph.loop(rounds, (lowest, nothing, none), lambda *given: _attend_some(*given, q=q, v=v))
    out = attention.to_out[0]
    mixed = graph.op("MatMul", graph.op("Div", mixed, total), graph.constant(_array(out.weight).T))
    mixed = graph.op("Add", mixed, graph.constant(_bias(out)))
    return graph.op("Add", graph.op("Transpose", mixed, perm=(0, 2, 1)), "skip")


def _attend_some(graph: SegmentGraph, index: str, before: tuple[str, ...], *, q: str, v: str) -> tuple[str, str, str]:
    """Largest score `[N, T, 1]`, sum of exponentials `[N, T, 1]`, mixed values `[N, T, C]`, with some more keys."""
    highest, total, mixed = before
    most, token, channel = graph.constant(np.array(KEYS_AT_ONCE)), graph.axis(1), graph.axis(2)
    start = graph.op("Mul", index, most)
    span = [graph.op("Unsqueeze", at, graph.axis(0)) for at in (start, graph.op("Add", start, most))]
    scores = graph.op("MatMul", q, graph.op("Slice", "k", *span, channel))
    higher = graph.op("Max", highest, graph.op("ReduceMax", scores, channel, keepdims=1))
    shares = graph.op("Exp", graph.op("Sub", scores, higher))
    kept = graph.op("Exp", graph.op("Sub", highest, higher))
    more = graph.op("ReduceSum", shares, channel, keepdims=1)
    added = graph.op("MatMul", shares, graph.op("Slice", v, *span, token))
    return (
        higher,
        graph.op("Add", graph.op("Mul", total, kept), more),
        graph.op("Add", graph.op("Mul", mixed, kept), added),
    )


def smaller(graph: SegmentGraph, x: str, layer: Any, name: str) -> str:
    """One column and one row of zeros at the right and bottom, then a convolution of stride 2."""
    plain = layer.use_conv and layer.padding == 0 and layer.norm is None and layer.conv.kernel_size == (3, 3)
    check(plain, name, layer, "a downsampling convolution padded at the right and bottom")
    return conv(graph, x, layer.conv, (0, 0, 1, 1))


def larger(graph: SegmentGraph, x: str, layer: Any, name: str) -> str:
    """Every pixel twice each way, then a convolution of 3x3; as four of 2x2, one for each place in a pair of pairs.

    Of three neighbours in the enlarged image two are the same pixel of `x`, so their weights are added up beforehand:
    4 products where there were 9, and the enlarged image of all channels is never made.
    """
    plain = layer.use_conv and not layer.use_conv_transpose and layer.norm is None
    check(plain, name, layer, "nearest upsampling and a convolution")
    one = layer.conv
    check((one.kernel_size, one.stride, one.padding) == ((3, 3), (1, 1), (1, 1)), name, one, "a convolution of 3x3")
    check(isinstance(one, nn.Conv2d) and one.groups == 1 and one.dilation == (1, 1), name, one, "plain Conv2d")
    bias, places = graph.constant(_bias(one)), []
    for row in (0, 1):
        for column in (0, 1):
            weight = _paired(_paired(_array(one.weight), 2, row), 3, column)
            pads = (1 - row, 1 - column, row, column)
            places.append(graph.op("Conv", x, graph.constant(weight), bias, kernel_shape=(2, 2), pads=pads))
    return graph.op("DepthToSpace", graph.op("Concat", *places, axis=1), blocksize=2, mode="DCR")


def _paired(weight: NDArray[np.float32], axis: int, place: int) -> NDArray[np.float32]:
    """Weights of the two pixels that three neighbours along `axis` lie in, summed in float64.

    At place 0, the first of two equal pixels, the neighbour before is another one; at place 1 that behind.
    """
    first, second, third = (weight.take(index, axis).astype(np.float64) for index in range(3))
    pair = (first, second + third) if place == 0 else (first + second, third)
    return np.stack(pair, axis).astype(np.float32)


def sampled(graph: SegmentGraph, moments: str, quant_conv: nn.Module | None, scaling: float) -> str:
    """Of mean and log variance, and the noise `skip`: a sample of the posterior, scaled."""
    if quant_conv is not None:
        moments = conv(graph, moments, quant_conv)
    mean, logvar = graph.ops("Split", moments, outputs=2, axis=1, num_outputs=2)
    low, high = (graph.number(value) for value in LOG_VARIANCE)
    deviation = graph.op("Exp", graph.op("Mul", graph.op("Clip", logvar, low, high), graph.number(0.5)))
    sample = graph.op("Add", mean, graph.op("Mul", deviation, "skip"))
    return graph.op("Mul", sample, graph.number(scaling))


def _array(tensor: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.detach().to("cpu", torch.float32).numpy()
    return array


def _bias(layer: Any) -> NDArray[np.float32]:
    return np.zeros(len(layer.weight), np.float32) if layer.bias is None else _array(layer.bias)


def check(fits: bool, where: str, found: object, expected: str) -> None:
    """Raise `CheckpointError` unless `fits`."""
    if not fits:
        raise CheckpointError(
            f"VAE {where}",
            found=str(found).splitlines()[0],
            expected=expected,
            mend="Give the VAE of the model that the checkpoint was trained for.",
        )
