"""Swin Transformer, first version (Liu et al., arXiv 2103.14030), as RAM uses it: any sizes, one fixed image side.

Names of weights are the checkpoint's, but for the position biases: those are tables spread out to all pairs of a
window's pixels, once, when the weights are loaded.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Swin", "SwinShape", "WindowSoftmax", "pair_biases"]

MASKED = -100.0  # added to the scores of pixels that only the shift brought together; the original's number


@dataclass(frozen=True, slots=True, kw_only=True)
class SwinShape:
    """Width of the first stage, blocks and heads of each, sides of a patch and of a window, and of the MLP's layers."""

    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int
    patch: int
    hidden: int  # of the first stage's MLP; it doubles with the width

    @property
    def side(self) -> int:
        """Of the image: the last stage is one window."""
        return self.patch * self.grid(0)

    @property
    def tokens(self) -> int:
        """Of the last stage."""
        return self.window**2

    @property
    def channels(self) -> int:
        """Of the last stage."""
        return self.width << (len(self.depths) - 1)

    def grid(self, stage: int) -> int:
        """Tokens along a side in `stage`."""
        return self.window << (len(self.depths) - 1 - stage)


def pair_biases(table: Tensor) -> Tensor:
    """The biases of all pairs of a window's pixels, `[heads, T, T]`, from a table `[(2 window - 1) ** 2, heads]`.

    A pair's entry is (dy + window - 1) * (2 window - 1) + dx + window - 1, of the way from the second to the first.
    """
    width = round(table.shape[0] ** 0.5)
    window = (width + 1) // 2
    y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    dy, dx = (axis.reshape(-1, 1) - axis.reshape(1, -1) + window - 1 for axis in (y, x))
    return table[dy * width + dx].permute(2, 0, 1).contiguous()


def shift_mask(grid: int, window: int, shift: int) -> Tensor:
    """What is added to scores in a shifted grid, `[windows, 1, T, T]`: pixels of different ends of it are no pair."""
    ends = torch.zeros(grid)
    ends[grid - window : grid - shift], ends[grid - shift :] = 1, 2
    region = _windows((3 * ends[:, None] + ends)[None, :, :, None], window)[..., 0]
    return (region[:, None, :, None] != region[:, None, None, :]) * MASKED


def _windows(x: Tensor, window: int) -> Tensor:
    """`[N, H, W, C]` to `[N * windows, T, C]`."""
    high, wide, channels = x.shape[1:]
    x = x.reshape(-1, high // window, window, wide // window, window, channels).permute(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, window * window, channels)


class WindowSoftmax(nn.Module):
    """softmax(scores + bias + mask) along the last axis; `scores` are `[N, windows, heads, T, T]`."""

    def __init__(self, heads: int, tokens: int) -> None:
        super().__init__()
        self.bias: Tensor
        self.register_buffer("bias", torch.zeros(heads, tokens, tokens))

    def forward(self, scores: Tensor, mask: Tensor | None) -> Tensor:
        scores = scores + self.bias
        return (scores if mask is None else scores + mask).softmax(dim=-1)


class WindowAttention(nn.Module):
    """Multi-head attention inside windows, `[N * windows, T, C]` to the same."""

    def __init__(self, width: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.softmax = WindowSoftmax(heads, tokens)

    def forward(self, x: Tensor, windows: int, mask: Tensor | None) -> Tensor:
        tokens, width = x.shape[1:]
        depth = width // self.heads
        q, k, v = self.qkv(x).reshape(-1, windows, tokens, 3, self.heads, depth).permute(3, 0, 1, 4, 2, 5).unbind(0)
        weights = self.softmax((q * depth**-0.5) @ k.transpose(-2, -1), mask)
        return self.proj((weights @ v).transpose(2, 3).reshape(-1, tokens, width))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """Two linear layers with the exact GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class Block(nn.Module):
    """x + attention, then x + MLP, each of the normalised x; `shift` moves the windows' grid up and left."""

    def __init__(self, width: int, heads: int, hidden: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1, self.attn = nn.LayerNorm(width), WindowAttention(width, heads, window * window)
        self.norm2, self.mlp = nn.LayerNorm(width), Mlp(width, hidden)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = x + self._attention(self.norm1(x), mask if self.shift else None)
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]

    def _attention(self, x: Tensor, mask: Tensor | None) -> Tensor:
        grid, window, width = x.shape[1], self.window, x.shape[3]
        along = grid // window
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        x = self.attn(_windows(x, window), along * along, mask)
        x = x.reshape(-1, along, along, window, window, width).permute(0, 1, 3, 2, 4, 5)
        x = x.reshape(-1, grid, grid, width)
        return torch.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x


class Merging(nn.Module):
    """Each square of four tokens becomes one of twice the width, `[N, H, W, C]` to `[N, H / 2, W / 2, 2C]`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.reduction = nn.LayerNorm(4 * width), nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, dim=3)))  # type: ignore[no-any-return]


class Stage(nn.Module):
    """Blocks without and with shift in turn, then the merging, but after the last stage."""

    def __init__(self, shape: SwinShape, stage: int) -> None:
        super().__init__()
        width, grid, window = shape.width << stage, shape.grid(stage), shape.window
        shift = window // 2 if grid > window else 0  # one window has nothing to shift to
        self.blocks = nn.ModuleList(
            Block(width, shape.heads[stage], shape.hidden << stage, window, shift if index % 2 else 0)
            for index in range(shape.depths[stage])
        )
        self.downsample = Merging(width) if stage + 1 < len(shape.depths) else None
        self.mask: Tensor | None
        self.register_buffer("mask", shift_mask(grid, window, shift) if shift else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x, self.mask)
        return x if self.downsample is None else self.downsample(x)


class PatchEmbed(nn.Module):
    """`[N, 3, S, S]` to tokens `[N, S / patch, S / patch, width]`."""

    def __init__(self, shape: SwinShape) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, shape.width, shape.patch, stride=shape.patch)
        self.norm = nn.LayerNorm(shape.width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.proj(x).permute(0, 2, 3, 1))  # type: ignore[no-any-return]


class Swin(nn.Module):
    """A normalised image `[N, 3, S, S]` to tokens `[N, T, C]` of the last stage, normalised."""

    def __init__(self, shape: SwinShape) -> None:
        super().__init__()
        self.shape = shape
        self.patch_embed = PatchEmbed(shape)
        self.layers = nn.ModuleList(Stage(shape, stage) for stage in range(len(shape.depths)))
        self.norm = nn.LayerNorm(shape.channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        for stage in self.layers:
            x = stage(x)
        return self.norm(x.reshape(-1, self.shape.tokens, self.shape.channels))  # type: ignore[no-any-return]
