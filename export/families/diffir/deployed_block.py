"""DIRformer's blocks in the form that engines run fastest, from the weights of the plain ones.

Layers are plain convolutions wherever they can be: ONNX Runtime keeps chains of them, and GELU and products between
them, in its blocked layout. Times in comments: 128 channels, 128x128 pixels, one core of a Zen 4, ONNX Runtime 1.31.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lqhq.export.families.diffir.dirformer import EPSILON, Attention, Block, FeedForward, LayerNorm
from lqhq.runtime.geometry import round_up

__all__ = ["SMALLEST_NORM", "DeployedBlock", "ModulatedNorm", "Scores"]

LANES = 16  # floats in an AVX-512 register, and channels in a block of ONNX Runtime's NCHWc layout
SMALLEST_NORM = 1e-12  # of `torch.nn.functional.normalize`


def _pointwise(weight: Tensor, bias: Tensor | None, *, inputs: int = 0, outputs: int = 0) -> nn.Conv2d:
    """A 1x1 convolution with `weight` `[out, in, 1, 1]`, zero-padded to the given numbers of channels."""
    out, into = weight.shape[:2]
    conv = nn.Conv2d(max(into, inputs), max(out, outputs), 1, bias=bias is not None)
    conv.weight.data.zero_()[:out, :into] = weight
    if conv.bias is not None and bias is not None:
        conv.bias.data.zero_()[:out] = bias
    return conv


def _depthwise(weight: Tensor, bias: Tensor | None, *, channels: int = 0) -> nn.Conv2d:
    """A depth-wise 3x3 convolution with `weight` `[C, 1, 3, 3]`, zero-padded to `channels`."""
    count = max(len(weight), channels)
    conv = nn.Conv2d(count, count, 3, padding=1, groups=count, bias=bias is not None)
    conv.weight.data.zero_()[: len(weight)] = weight
    if conv.bias is not None and bias is not None:
        conv.bias.data.zero_()[: len(bias)] = bias
    return conv


def _part(tensor: Tensor | None, index: int, count: int) -> Tensor | None:
    return None if tensor is None else tensor.chunk(count)[index]


class ModulatedNorm(nn.Module):
    """LayerNorm and modulation: `[N, C, H, W]` and the prior `[N, 256]` to the input of a branch.

    Means over channels are products with a row of ones: 0.15 ms, a reduction over a strided axis 6 ms. The variance
    is that of centred values, in two passes, since flat regions have next to none. What LayerNorm learned goes into
    the modulation: (y w + v) a + b = y (w a) + (v a + b).
    """

    def __init__(self, norm: LayerNorm, kernel: nn.Module) -> None:
        super().__init__()
        weight, bias = norm.body.weight.double(), norm.body.bias
        assert isinstance(weight, Tensor)
        scale, shift = kernel[0].weight.double().chunk(2)  # type: ignore[index]
        if bias is not None:
            shift = shift + bias.double()[:, None] * scale
        self.centred = bias is not None
        self.scale = nn.Parameter((weight[:, None] * scale).float(), requires_grad=False)
        self.shift = nn.Parameter(shift.float(), requires_grad=False)
        self.mean = nn.Parameter(torch.full((1, 1, len(weight)), 1 / len(weight)), requires_grad=False)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        n, c, h, w = x.shape
        flat = x.reshape(n, c, h * w)
        centred = flat - torch.matmul(self.mean, flat)
        variance = torch.matmul(self.mean, centred * centred)
        y = (centred if self.centred else flat) * torch.rsqrt(variance + EPSILON)
        y = y * functional.linear(z, self.scale)[:, :, None] + functional.linear(z, self.shift)[:, :, None]
        return y.reshape(n, c, h, w)


class Scores(nn.Module):
    """softmax((q / |q|) (k / |k|)^T temperature) without normalised copies: it is (q k^T) / (|q| |k|^T).

    `[N, heads, C / heads, H * W]` twice to `[N, heads, C / heads, C / heads]`. Squares are summed as a product and a
    sum: 0.65 ms, ReduceSumSquare or ReduceL2 1.8 ms.
    """

    def __init__(self, temperature: Tensor) -> None:
        super().__init__()
        self.temperature = nn.Parameter(temperature.detach().clone(), requires_grad=False)

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        rows = self.temperature / (q * q).sum(3, keepdim=True).sqrt().clamp(min=SMALLEST_NORM)
        columns = (k * k).sum(3, keepdim=True).sqrt().clamp(min=SMALLEST_NORM).transpose(2, 3)
        return ((q @ k.transpose(2, 3)) * rows / columns).softmax(dim=3)


class Mix(nn.Module):
    """Attention and projection as one matrix: W_out blockdiag(A_1 ... A_heads) is `[C, C]`, and applied to v."""

    def __init__(self, project_out: nn.Conv2d, heads: int) -> None:
        super().__init__()
        width = len(project_out.weight)
        project = project_out.weight.detach().reshape(width, heads, width // heads).transpose(0, 1)
        self.project = nn.Parameter(project.contiguous(), requires_grad=False)  # [heads, C, C / heads]
        bias = project_out.bias
        self.bias = None if bias is None else nn.Parameter(bias.detach()[:, None].clone(), requires_grad=False)

    def forward(self, scores: Tensor, v: Tensor) -> Tensor:
        n, c, _ = v.shape
        out = (self.project @ scores).transpose(1, 2).reshape(n, c, c) @ v
        return out if self.bias is None else out + self.bias


class DeployedAttention(nn.Module):
    """Channel attention; q, k and v are convolutions of their own: 24 ms, one convolution that is then split 30 ms."""

    def __init__(self, plain: Attention, norm: LayerNorm) -> None:
        super().__init__()
        self.heads = plain.heads
        self.norm: nn.Module = ModulatedNorm(norm, plain.kernel)
        parts = [
            nn.Sequential(
                _pointwise(plain.qkv.weight.chunk(3)[i], _part(plain.qkv.bias, i, 3)),
                _depthwise(plain.qkv_dwconv.weight.chunk(3)[i], _part(plain.qkv_dwconv.bias, i, 3)),
            )
            for i in range(3)
        ]
        self.query, self.key, self.value = parts
        self.scores: nn.Module = Scores(plain.temperature)
        self.mix = Mix(plain.project_out, plain.heads)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        n, c, h, w = x.shape
        y = self.norm(x, z)
        q = self.query(y).reshape(n, self.heads, c // self.heads, h * w)
        k = self.key(y).reshape(n, self.heads, c // self.heads, h * w)
        out: Tensor = self.mix(self.scores(q, k), self.value(y).reshape(n, c, h * w))
        return out.reshape(n, c, h, w)


class DeployedFeedForward(nn.Module):
    """The gate and the value as convolutions of their own, so that nothing leaves the blocked layout to be cut.

    50 ms at 288 channels; as matrix products and depth-wise convolutions 60 ms, at 281 channels not padded 69 ms.
    """

    def __init__(self, plain: FeedForward, norm: LayerNorm) -> None:
        super().__init__()
        self.norm: nn.Module = ModulatedNorm(norm, plain.kernel)
        hidden = plain.project_out.weight.shape[1]
        wide = round_up(hidden, LANES)  # with zeros, which stay zeros to the end: GELU(0) 0 = 0
        parts = [
            nn.Sequential(
                _pointwise(plain.project_in.weight.chunk(2)[i], _part(plain.project_in.bias, i, 2), outputs=wide),
                _depthwise(plain.dwconv.weight.chunk(2)[i], _part(plain.dwconv.bias, i, 2), channels=wide),
            )
            for i in range(2)
        ]
        self.gate, self.value = parts
        self.project = _pointwise(plain.project_out.weight, plain.project_out.bias, inputs=wide)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        y = self.norm(x, z)
        out: Tensor = self.project(functional.gelu(self.gate(y)) * self.value(y))
        return out


class DeployedBlock(nn.Module):
    """`[N, C, H, W]` and the prior `[N, 256]` to `[N, C, H, W]`: what `plain` computes."""

    def __init__(self, plain: Block) -> None:
        super().__init__()
        self.attention = DeployedAttention(plain.attn, plain.norm1)
        self.feed_forward = DeployedFeedForward(plain.ffn, plain.norm2)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        x = x + self.attention(x, z)
        out: Tensor = x + self.feed_forward(x, z)
        return out
