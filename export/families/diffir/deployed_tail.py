"""Super-resolution's head as one convolution.

Between the features and the image there is nothing but convolutions and pixel-shuffles, so the head is one affine
map, and 1/20 of the multiplications do it: a 5x5 convolution to the 48 values of each 4x4 block of pixels. At the
borders the zeros that each of the original convolutions pads with make the map another one, but only in the blocks
of the outermost feature pixels; those get kernels of their own, so the result is exact everywhere.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ComposedTail"]

BLOCK = 4  # pixels per side that one feature pixel becomes
REACH = 2  # feature pixels to each side that a block depends on: 1 of the first convolution, 1/2 + 1/4 of the others
NEAR = REACH + 1  # feature pixels, counted from a border, that the outermost block depends on
ACROSS = ((NEAR, 0), (NEAR + REACH, REACH), (NEAR, NEAR - 1))  # size of an image, and a block in it: first, inner, last


def _jacobian(tail: nn.Module, size: tuple[int, int], block: tuple[int, int], channels: int) -> tuple[Tensor, Tensor]:
    """Kernel `[48, channels, h, w]` and bias `[48]` that make `block` of an image of `size` (h, w), in float64."""
    outputs = 3 * BLOCK**2
    x = torch.zeros(outputs, channels, *size, dtype=torch.float64, requires_grad=True)
    with torch.enable_grad():
        blocks = functional.pixel_unshuffle(tail(x), BLOCK)[:, :, block[0], block[1]]
        (gradient,) = torch.autograd.grad(blocks.diagonal().sum(), x)  # row k is the gradient of value k
    return gradient, blocks[0].detach()


def _composed(tail: nn.Module, rows: tuple[int, int], columns: tuple[int, int], channels: int) -> nn.Conv2d:
    """Inside, the image goes on to both sides and is padded where it ends; at a border one row or column is made."""
    size, block = (rows[0], columns[0]), (rows[1], columns[1])
    weight, bias = _jacobian(tail, size, block, channels)
    padding = (0 if size[0] == NEAR else REACH, 0 if size[1] == NEAR else REACH)
    conv = nn.Conv2d(channels, len(bias), size, padding=padding)
    conv.load_state_dict({"weight": weight.float(), "bias": bias.float()})
    return conv


class _Row(nn.Module):
    """Values of the blocks of the first column, of the inner ones, and of the last."""

    def __init__(self, left: nn.Conv2d, inside: nn.Conv2d, right: nn.Conv2d) -> None:
        super().__init__()
        self.left, self.inside, self.right = left, inside, right

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.left(x[..., :NEAR]), self.inside(x)[..., 1:-1], self.right(x[..., -NEAR:])]
        return torch.cat(parts, dim=3)


class ComposedTail(nn.Module):
    """`features` `[N, C, H, W]`, H and W at least 3, to `[N, 3, 4 H, 4 W]`: what `tail` computes."""

    def __init__(self, tail: nn.Module, channels: int) -> None:
        super().__init__()
        exact = copy.deepcopy(tail).double().requires_grad_(False)
        self.top, self.inner, self.bottom = (
            _Row(*(_composed(exact, rows, columns, channels) for columns in ACROSS)) for rows in ACROSS
        )

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.top(x[:, :, :NEAR]), self.inner(x)[:, :, 1:-1], self.bottom(x[:, :, -NEAR:])]
        return functional.pixel_shuffle(torch.cat(parts, dim=2), BLOCK)
