"""The VAE of Stable Diffusion as segments: from one group norm to the next, each a small graph over strips of rows.

A resnet is two segments, `conv1(silu(norm1(x)))` and `skip + conv2(silu(norm2(h)))`; what makes the image larger or
smaller after a level's last resnet runs in that resnet's second segment, so its canvas is never written. The networks
are diffusers' `AutoencoderKL` parts, whatever their widths, depths and groups.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lqhq.export.segment_graph import SegmentGraph
from lqhq.runtime.errors import CheckpointError
from lqhq.runtime.latent_spec import GroupNorm, Segment

__all__ = ["PREFIX", "decode_segments", "encode_segments"]

PREFIX = "graphs/segments"
LOG_VARIANCE = (-30.0, 20.0)  # limits of the posterior's: AutoencoderKL, DiagonalGaussianDistribution

Finish = Callable[[SegmentGraph, str], str]


def encode_segments(
    encoder: nn.Module, quant_conv: nn.Module | None, folder: Path, *, scaling: float, prefix: str = PREFIX
) -> tuple[Segment, ...]:
    """Write the role `encode` below `folder` as `<prefix>/encode.00.onnx`, ...; `input` and `noise` to `output`.

    `output` is `(mean + exp(0.5 * clip(logvar)) * noise) * scaling`. Raises `CheckpointError` for a network of another
    kind: another activation, several attention heads, other norms.
    """
    network = cast(Any, encoder)
    writer = _Writer("encode", folder, prefix, channels=network.conv_in.in_channels)
    writer.first(network.conv_in, lambda graph, x: x)
    for level, block in enumerate(network.down_blocks):
        *resnets, last = block.resnets
        for index, resnet in enumerate(resnets):
            writer.resnet(f"down{level}.{index}", resnet)
        smaller = block.downsamplers[0] if block.downsamplers else None
        writer.resnet(f"down{level}.{len(resnets)}", last, smaller=smaller)
    writer.middle(network.mid_block)
    writer.last(network, lambda graph, x: _sampled(graph, x, quant_conv, scaling), skip="noise", share=2)
    return tuple(writer.segments)


def decode_segments(
    decoder: nn.Module, post_quant_conv: nn.Module | None, folder: Path, *, scaling: float, prefix: str = PREFIX
) -> tuple[Segment, ...]:
    """As `encode_segments`, for the role `decode`: `input` is the state, divided by `scaling` first."""
    network = cast(Any, decoder)
    writer = _Writer("decode", folder, prefix, channels=network.conv_in.in_channels)

    def start(graph: SegmentGraph, x: str) -> str:
        latent = graph.op("Div", x, graph.number(scaling))
        return latent if post_quant_conv is None else _conv(graph, latent, post_quant_conv)

    writer.first(network.conv_in, start)
    writer.middle(network.mid_block)
    for level, block in enumerate(network.up_blocks):
        *resnets, last = block.resnets
        for index, resnet in enumerate(resnets):
            writer.resnet(f"up{level}.{index}", resnet)
        larger = block.upsamplers[0] if block.upsamplers else None
        writer.resnet(f"up{level}.{len(resnets)}", last, larger=larger)
    writer.last(network, lambda graph, x: x)
    return tuple(writer.segments)


class _Writer:
    """Writes segments in order; each reads the canvas that the one before it wrote."""

    def __init__(self, role: str, folder: Path, prefix: str, *, channels: int) -> None:
        self.segments: list[Segment] = []
        self._role, self._folder, self._prefix = role, folder, prefix
        self._at, self._channels = "input", channels

    def first(self, conv: nn.Module, start: Finish) -> None:
        graph = SegmentGraph()
        y = _conv(graph, start(graph, "x"), conv)
        self._add(graph, y, name="conv_in", channels=_outputs(conv), halo=1)

    def resnet(
        self, name: str, resnet: nn.Module, *, smaller: nn.Module | None = None, larger: nn.Module | None = None
    ) -> None:
        """Both halves of a resnet, the second with what follows it on its level."""
        block = cast(Any, resnet)
        _check(isinstance(block.nonlinearity, nn.SiLU), name, block.nonlinearity, "SiLU")
        _check(block.output_scale_factor == 1, name, f"output scale {block.output_scale_factor}", "1")
        skip = self._at
        graph = SegmentGraph()
        y = _conv(graph, _silu(graph, _normed(graph, "x", block.norm1)), block.conv1)
        self._add(graph, y, name=f"{name}.h", channels=_outputs(block.conv1), halo=1, norm=block.norm1)
        graph = SegmentGraph()
        h = _conv(graph, _silu(graph, _normed(graph, "x", block.norm2)), block.conv2)
        shortcut = block.conv_shortcut
        y = graph.op("Add", "skip" if shortcut is None else _conv(graph, "skip", shortcut), h)
        if smaller is not None:
            y = _smaller(graph, y, smaller, name)
        if larger is not None:
            y = _larger(graph, y, larger, name)
        self._add(
            graph,
            y,
            name=name,
            channels=_outputs(block.conv2),
            halo=1 if smaller is None and larger is None else 2,  # a second convolution needs a second row
            norm=block.norm2,
            skip=skip,
            skip_channels=_inputs(block.conv1),
            down=1 if smaller is None else 2,
            up=1 if larger is None else 2,
        )

    def middle(self, block: Any) -> None:
        """Resnet, attention or none, resnet, ..."""
        for index, resnet in enumerate(block.resnets):
            if index and block.attentions[index - 1] is not None:
                self._attention(f"mid.attention{index - 1}", block.attentions[index - 1])
            self.resnet(f"mid.{index}", resnet)

    def _attention(self, name: str, attention: Any) -> None:
        """Queries (times the scale), keys and values as one canvas; then what attends, chunk by chunk."""
        _check(attention.heads == 1, name, f"{attention.heads} heads", "1")
        _check(bool(attention.residual_connection), name, "attention without its input added", "the input added")
        skip, wide = self._at, self._channels
        linear = [attention.to_q, attention.to_k, attention.to_v]
        scales = [float(attention.scale), 1.0, 1.0]
        weight = np.concatenate([_array(one.weight) * scale for one, scale in zip(linear, scales, strict=True)])
        bias = np.concatenate([_bias(one) * scale for one, scale in zip(linear, scales, strict=True)])
        graph = SegmentGraph()
        normed = _normed(graph, "x", attention.group_norm)
        y = graph.op("Conv", normed, graph.constant(weight[:, :, None, None]), graph.constant(bias))
        self._add(graph, y, name=f"{name}.qkv", channels=3 * wide, norm=attention.group_norm)
        graph = SegmentGraph()
        scores = graph.op("MatMul", graph.op("Transpose", "q", perm=(0, 2, 1)), "k")
        mixed = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), graph.op("Transpose", "v", perm=(0, 2, 1)))
        out = attention.to_out[0]
        mixed = graph.op("MatMul", mixed, graph.constant(_array(out.weight).T))
        mixed = graph.op("Add", mixed, graph.constant(_bias(out)))
        y = graph.op("Add", graph.op("Transpose", mixed, perm=(0, 2, 1)), "skip")
        factor = float(attention.rescale_output_factor)
        _check(factor == 1, name, f"rescaling by {factor}", "1")
        self._add(graph, y, name=name, channels=wide, skip=skip, skip_channels=wide, kind="attention")

    def last(self, network: Any, finish: Finish, *, skip: str | None = None, share: int = 1) -> None:
        """The norm, the activation and the convolution at the end, of whose channels one in `share` is left."""
        _check(isinstance(network.conv_act, nn.SiLU), "conv_act", network.conv_act, "SiLU")
        graph = SegmentGraph()
        y = _conv(graph, _silu(graph, _normed(graph, "x", network.conv_norm_out)), network.conv_out)
        channels = _outputs(network.conv_out) // share
        self._add(
            graph,
            finish(graph, y),
            name="output",
            channels=channels,
            halo=1,
            norm=network.conv_norm_out,
            skip=skip,
            skip_channels=channels,
        )

    def _add(
        self,
        graph: SegmentGraph,
        y: str,
        *,
        name: str,
        channels: int,
        norm: nn.GroupNorm | None = None,
        skip: str | None = None,
        skip_channels: int = 0,
        kind: str = "rows",
        up: int = 1,
        down: int = 1,
        halo: int = 0,
    ) -> None:
        file = f"{self._prefix}/{self._role}.{len(self.segments):02d}.onnx"
        sides = ("H", "W") if kind == "rows" else ("T",)
        other = sides if up == down else ("HY", "WY")
        inputs: dict[str, tuple[int | str, ...]] = {}
        if kind == "attention":
            inputs |= {"q": ("N", channels, "T"), "k": ("N", channels, "S"), "v": ("N", channels, "S")}
        else:
            inputs["x"] = ("N", self._channels, *sides)
        if skip is not None:
            inputs["skip"] = ("N", skip_channels, *sides)
        if norm is not None:
            inputs |= {"mean": ("N", self._channels), "rstd": ("N", self._channels)}
        graph.write(self._folder / file, inputs, y, ("N", channels, *other))
        self.segments.append(
            Segment(
                file=file,
                kind=cast(Any, kind),
                x=self._at,
                skip=skip,
                y=name,
                channels=channels,
                up=cast(Any, up),
                down=cast(Any, down),
                halo=halo,
                norm=None if norm is None else GroupNorm(groups=norm.num_groups, eps=norm.eps),
            )
        )
        self._at, self._channels = name, channels


def _normed(graph: SegmentGraph, x: str, norm: nn.Module) -> str:
    """`(x - mean) * rstd * gamma + beta` as one product and one sum: `x * a + (beta - mean * a)`, as PyTorch does."""
    _check(isinstance(norm, nn.GroupNorm) and norm.affine, "norm", norm, "GroupNorm with weights")
    a = graph.op("Mul", "rstd", graph.constant(_array(norm.weight)))
    b = graph.op("Sub", graph.constant(_array(norm.bias)), graph.op("Mul", "mean", a))
    plane = graph.axis(2, 3)
    a, b = (graph.op("Unsqueeze", value, plane) for value in (a, b))
    return graph.op("Add", graph.op("Mul", x, a), b)


def _silu(graph: SegmentGraph, x: str) -> str:
    return graph.op("Mul", x, graph.op("Sigmoid", x))


def _conv(graph: SegmentGraph, x: str, conv: Any, pads: tuple[int, int, int, int] | None = None) -> str:
    _check(isinstance(conv, nn.Conv2d) and conv.groups == 1 and conv.dilation == (1, 1), "conv", conv, "plain Conv2d")
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


def _smaller(graph: SegmentGraph, x: str, layer: Any, name: str) -> str:
    """One column and one row of zeros at the right and bottom, then a convolution of stride 2."""
    plain = layer.use_conv and layer.padding == 0 and layer.norm is None and layer.conv.kernel_size == (3, 3)
    _check(plain, name, layer, "a downsampling convolution padded at the right and bottom")
    return _conv(graph, x, layer.conv, (0, 0, 1, 1))


def _larger(graph: SegmentGraph, x: str, layer: Any, name: str) -> str:
    """Every pixel twice each way, then a convolution."""
    plain = layer.use_conv and not layer.use_conv_transpose and layer.norm is None
    _check(plain, name, layer, "nearest upsampling and a convolution")
    scales = graph.constant(np.array([1, 1, 2, 2], np.float32))
    larger = graph.op("Resize", x, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    return _conv(graph, larger, layer.conv)


def _sampled(graph: SegmentGraph, moments: str, quant_conv: nn.Module | None, scaling: float) -> str:
    """Of mean and log variance, and the noise `skip`: a sample of the posterior, scaled."""
    if quant_conv is not None:
        moments = _conv(graph, moments, quant_conv)
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


def _outputs(conv: Any) -> int:
    return int(conv.out_channels)


def _inputs(conv: Any) -> int:
    return int(conv.in_channels)


def _check(fits: bool, where: str, found: object, expected: str) -> None:
    if not fits:
        raise CheckpointError(
            f"VAE {where}",
            found=str(found).splitlines()[0],
            expected=expected,
            mend="Give the VAE of the model that the checkpoint was trained for.",
        )
