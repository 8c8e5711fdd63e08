"""The VAE of Stable Diffusion as segments: from one group norm to the next, each a small graph over strips of rows.

A resnet is two segments, `conv1(silu(norm1(x)))` and `skip + conv2(silu(norm2(h)))`; what makes the image larger or
smaller after a level's last resnet runs in that resnet's second segment, so its canvas is never written. The networks
are diffusers' `AutoencoderKL` parts, whatever their widths, depths and groups.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from torch import nn

from lqhq.export.families.osediff.vae_layers import (
    attended,
    check,
    conv,
    larger,
    normed,
    sampled,
    silu,
    smaller,
    token_canvas,
)
from lqhq.export.segment_graph import SegmentGraph
from lqhq.runtime.latent_spec import GroupNorm, Segment

__all__ = ["PREFIX", "decode_segments", "encode_segments"]

PREFIX = "graphs/segments"

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
        reduced = block.downsamplers[0] if block.downsamplers else None
        writer.resnet(f"down{level}.{len(resnets)}", last, smaller_by=reduced)
    writer.middle(network.mid_block)
    writer.last(network, lambda graph, x: sampled(graph, x, quant_conv, scaling), skip="noise", share=2)
    return tuple(writer.segments)


def decode_segments(
    decoder: nn.Module, post_quant_conv: nn.Module | None, folder: Path, *, scaling: float, prefix: str = PREFIX
) -> tuple[Segment, ...]:
    """As `encode_segments`, for the role `decode`: `input` is the state, divided by `scaling` first."""
    network = cast(Any, decoder)
    writer = _Writer("decode", folder, prefix, channels=network.conv_in.in_channels)

    def start(graph: SegmentGraph, x: str) -> str:
        latent = graph.op("Div", x, graph.number(scaling))
        return latent if post_quant_conv is None else conv(graph, latent, post_quant_conv)

    writer.first(network.conv_in, start)
    writer.middle(network.mid_block)
    for level, block in enumerate(network.up_blocks):
        *resnets, last = block.resnets
        for index, resnet in enumerate(resnets):
            writer.resnet(f"up{level}.{index}", resnet)
        enlarged = block.upsamplers[0] if block.upsamplers else None
        writer.resnet(f"up{level}.{len(resnets)}", last, larger_by=enlarged)
    writer.last(network, lambda graph, x: x)
    return tuple(writer.segments)


class _Writer:
    """Writes segments in order; each reads the canvas that the one before it wrote."""

    def __init__(self, role: str, folder: Path, prefix: str, *, channels: int) -> None:
        self.segments: list[Segment] = []
        self._role, self._folder, self._prefix = role, folder, prefix
        self._at, self._channels = "input", channels

    def first(self, layer: Any, start: Finish) -> None:
        graph = SegmentGraph()
        y = conv(graph, start(graph, "x"), layer)
        self._add(graph, y, name="conv_in", channels=layer.out_channels, halo=1)

    def resnet(
        self, name: str, resnet: nn.Module, *, smaller_by: nn.Module | None = None, larger_by: nn.Module | None = None
    ) -> None:
        """Both halves of a resnet, the second with what follows it on its level."""
        block = cast(Any, resnet)
        check(isinstance(block.nonlinearity, nn.SiLU), name, block.nonlinearity, "SiLU")
        check(block.output_scale_factor == 1, name, f"output scale {block.output_scale_factor}", "1")
        skip = self._at
        graph = SegmentGraph()
        y = conv(graph, silu(graph, normed(graph, "x", block.norm1)), block.conv1)
        self._add(graph, y, name=f"{name}.h", channels=block.conv1.out_channels, halo=1, norm=block.norm1)
        graph = SegmentGraph()
        h = conv(graph, silu(graph, normed(graph, "x", block.norm2)), block.conv2)
        shortcut = block.conv_shortcut
        y = graph.op("Add", "skip" if shortcut is None else conv(graph, "skip", shortcut), h)
        if smaller_by is not None:
            y = smaller(graph, y, smaller_by, name)
        if larger_by is not None:
            y = larger(graph, y, larger_by, name)
        self._add(
            graph,
            y,
            name=name,
            channels=block.conv2.out_channels,
            halo=1 if smaller_by is None and larger_by is None else 2,  # a second convolution needs a second row
            norm=block.norm2,
            skip=skip,
            skip_channels=block.conv1.in_channels,
            down=1 if smaller_by is None else 2,
            up=1 if larger_by is None else 2,
        )

    def middle(self, block: Any) -> None:
        """Resnet, attention or none, resnet, ..."""
        for index, resnet in enumerate(block.resnets):
            if index and block.attentions[index - 1] is not None:
                self._attention(f"mid.attention{index - 1}", block.attentions[index - 1])
            self.resnet(f"mid.{index}", resnet)

    def _attention(self, name: str, attention: Any) -> None:
        """Queries (times the scale), keys and values as one canvas; then what attends, chunk by chunk."""
        check(attention.heads == 1, name, f"{attention.heads} heads", "1")
        check(bool(attention.residual_connection), name, "attention without its input added", "the input added")
        factor = float(attention.rescale_output_factor)
        check(factor == 1, name, f"rescaling by {factor}", "1")
        skip, wide = self._at, self._channels
        graph = SegmentGraph()
        y = token_canvas(graph, normed(graph, "x", attention.group_norm), attention)
        self._add(graph, y, name=f"{name}.qkv", channels=3 * wide, norm=attention.group_norm)
        graph = SegmentGraph()
        y = attended(graph, attention)
        self._add(graph, y, name=name, channels=wide, skip=skip, skip_channels=wide, kind="attention")

    def last(self, network: Any, finish: Finish, *, skip: str | None = None, share: int = 1) -> None:
        """The norm, the activation and the convolution at the end, of whose channels one in `share` is left."""
        check(isinstance(network.conv_act, nn.SiLU), "conv_act", network.conv_act, "SiLU")
        graph = SegmentGraph()
        y = conv(graph, silu(graph, normed(graph, "x", network.conv_norm_out)), network.conv_out)
        channels = network.conv_out.out_channels // share
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
