"""DIRformer: the transformer that restores, guided by the prior in every block. Names are the official ones.

Everything is written as the papers say it (Xia et al., arXiv 2303.09472; Zamir et al., arXiv 2111.09881), not as it
runs fastest: this is what exported graphs are compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lqhq.export.families.diffir.cpen import WIDTH

__all__ = ["Dirformer", "Shape"]

EPSILON = 1e-5  # of LayerNorm


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What distinguishes one DIRformer from another.

    `blocks`, `heads` and `hidden` are per level 1 to 4; `hidden` is the width inside the feed-forward.
    `tail` is the convolutional x4 head of super-resolution, over an input folded by 4 / scale.
    """

    channels: int  # of the image: 3, or 4 with the hole mask
    dim: int
    blocks: tuple[int, int, int, int]
    refinement: int
    heads: tuple[int, int, int, int]
    hidden: tuple[int, int, int, int]
    bias: bool
    norm_bias: bool
    tail: bool
    scale: int  # 4, 2 or 1 with a tail; 1 without
    residual: bool  # without a tail: the input is added to the output

    @property
    def fold(self) -> int:
        """Pixels of the input per side that become channels before the first convolution."""
        return 4 // self.scale if self.tail else 1


class Affine(nn.Module):
    """Weight and bias of a norm, under the name that the official code gives them."""

    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width)) if bias else None


class LayerNorm(nn.Module):
    """Over the channels of each pixel; without bias the mean stays in x (only the variance is centred)."""

    def __init__(self, width: int, bias: bool) -> None:
        super().__init__()
        self.body = Affine(width, bias)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=1, keepdim=True)
        centred = x - mean
        deviation = torch.sqrt(centred.square().mean(dim=1, keepdim=True) + EPSILON)
        weight, bias = self.body.weight[:, None, None], self.body.bias
        if bias is None:
            return x / deviation * weight
        return centred / deviation * weight + bias[:, None, None]


class Modulation(nn.Module):
    """`x * a + b` per channel, with a and b from the prior."""

    kernel: nn.Sequential

    def modulated(self, x: Tensor, z: Tensor) -> Tensor:
        scale, shift = self.kernel(z)[:, :, None, None].chunk(2, dim=1)
        return x * scale + shift  # type: ignore[no-any-return]


class Attention(Modulation):
    """DMTA: attention between the channels of a head, over all pixels of the input."""

    def __init__(self, width: int, heads: int, bias: bool) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.kernel = nn.Sequential(nn.Linear(WIDTH, 2 * width, bias=False))
        self.qkv = nn.Conv2d(width, 3 * width, 1, bias=bias)
        self.qkv_dwconv = nn.Conv2d(3 * width, 3 * width, 3, padding=1, groups=3 * width, bias=bias)
        self.project_out = nn.Conv2d(width, width, 1, bias=bias)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        qkv = self.qkv_dwconv(self.qkv(self.modulated(x, z)))
        # [N, 3C, H, W] -> three of [N, heads, C / heads, H * W]
        q, k, v = qkv.flatten(2).unflatten(1, (3, self.heads, -1)).unbind(1)
        q, k = functional.normalize(q, dim=-1), functional.normalize(k, dim=-1)
        scores = (q @ k.transpose(-2, -1) * self.temperature).softmax(dim=-1)
        mixed = (scores @ v).flatten(1, 2).unflatten(2, x.shape[2:])
        return self.project_out(mixed)  # type: ignore[no-any-return]


class FeedForward(Modulation):
    """DGFN: a gated feed-forward with a depth-wise convolution."""

    def __init__(self, width: int, hidden: int, bias: bool) -> None:
        super().__init__()
        self.project_in = nn.Conv2d(width, 2 * hidden, 1, bias=bias)
        self.dwconv = nn.Conv2d(2 * hidden, 2 * hidden, 3, padding=1, groups=2 * hidden, bias=bias)
        self.project_out = nn.Conv2d(hidden, width, 1, bias=bias)
        self.kernel = nn.Sequential(nn.Linear(WIDTH, 2 * width, bias=False))

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        gate, value = self.dwconv(self.project_in(self.modulated(x, z))).chunk(2, dim=1)
        return self.project_out(functional.gelu(gate) * value)  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention, then feed-forward, both on normalised and modulated input, both added to x."""

    def __init__(self, width: int, heads: int, hidden: int, bias: bool, norm_bias: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = LayerNorm(width, norm_bias), LayerNorm(width, norm_bias)
        self.attn, self.ffn = Attention(width, heads, bias), FeedForward(width, hidden, bias)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x), z)
        return x + self.ffn(self.norm2(x), z)  # type: ignore[no-any-return]


class PatchEmbed(nn.Module):
    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)  # type: ignore[no-any-return]


class Down(nn.Module):
    """Half the sides, twice the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(width, width // 2, 3, padding=1, bias=False), nn.PixelUnshuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)  # type: ignore[no-any-return]


class Up(nn.Module):
    """Twice the sides, half the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(width, width * 2, 3, padding=1, bias=False), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)  # type: ignore[no-any-return]


def tail(width: int) -> nn.Sequential:
    """Super-resolution's head: twice x2 by pixel-shuffle, `2 * dim = width` channels kept, then RGB."""
    shuffles = [layer for _ in range(2) for layer in (nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2))]
    return nn.Sequential(nn.Sequential(*shuffles), nn.Conv2d(width, 3, 3, padding=1))


class Dirformer(nn.Module):
    """`lq` `[N, channels, H, W]` in [0, 1] and the prior `[N, 256]` to `hq` `[N, 3, scale * H, scale * W]`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        dim = shape.dim

        def level(width: int, at: int, count: int, heads: int) -> nn.ModuleList:
            """`count` blocks whose feed-forward has the hidden width of level `at`, the one of this `width`."""
            return nn.ModuleList(
                Block(width, heads, shape.hidden[at], shape.bias, shape.norm_bias) for _ in range(count)
            )

        (one, two, three, four), heads = shape.blocks, shape.heads
        self.patch_embed = PatchEmbed(shape.channels * shape.fold**2, dim)
        self.encoder_level1, self.down1_2 = level(dim, 0, one, heads[0]), Down(dim)
        self.encoder_level2, self.down2_3 = level(2 * dim, 1, two, heads[1]), Down(2 * dim)
        self.encoder_level3, self.down3_4 = level(4 * dim, 2, three, heads[2]), Down(4 * dim)
        self.latent, self.up4_3 = level(8 * dim, 3, four, heads[3]), Up(8 * dim)
        self.reduce_chan_level3 = nn.Conv2d(8 * dim, 4 * dim, 1, bias=shape.bias)
        self.decoder_level3, self.up3_2 = level(4 * dim, 2, three, heads[2]), Up(4 * dim)
        self.reduce_chan_level2 = nn.Conv2d(4 * dim, 2 * dim, 1, bias=shape.bias)
        self.decoder_level2, self.up2_1 = level(2 * dim, 1, two, heads[1]), Up(2 * dim)
        self.decoder_level1 = level(2 * dim, 1, one, heads[0])  # as wide as level 2, with the heads of level 1
        if shape.refinement:
            self.refinement = level(2 * dim, 1, shape.refinement, heads[0])
        if shape.tail:
            self.tail = tail(2 * dim)
        else:
            self.output = nn.Conv2d(2 * dim, 3, 3, padding=1, bias=shape.bias)

    def features(self, x: Tensor, z: Tensor) -> Tensor:
        """`[N, 2 dim, H, W]` of a folded input."""
        level1 = _run(self.encoder_level1, self.patch_embed(x), z)
        level2 = _run(self.encoder_level2, self.down1_2(level1), z)
        level3 = _run(self.encoder_level3, self.down2_3(level2), z)
        x = _run(self.latent, self.down3_4(level3), z)
        x = _run(self.decoder_level3, self.reduce_chan_level3(torch.cat([self.up4_3(x), level3], dim=1)), z)
        x = _run(self.decoder_level2, self.reduce_chan_level2(torch.cat([self.up3_2(x), level2], dim=1)), z)
        x = _run(self.decoder_level1, torch.cat([self.up2_1(x), level1], dim=1), z)
        return _run(self.refinement, x, z) if self.shape.refinement else x

    def forward(self, lq: Tensor, z: Tensor) -> Tensor:
        shape = self.shape
        x = self.features(functional.pixel_unshuffle(lq, shape.fold) if shape.fold > 1 else lq, z)
        if shape.tail:
            scale = float(shape.scale)
            large = functional.interpolate(lq, scale_factor=scale, mode="nearest") if scale > 1 else lq
            return self.tail(x) + large  # type: ignore[no-any-return]
        restored: Tensor = self.output(x)
        return restored + lq if shape.residual else restored


def _run(blocks: Sequence[nn.Module] | nn.ModuleList, x: Tensor, z: Tensor) -> Tensor:
    for block in blocks:
        x = block(x, z)
    return x
