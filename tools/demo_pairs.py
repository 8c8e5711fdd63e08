"""The demo's training pairs: HR photos, their LR halves by antialiased bicubic reduction, and random patches."""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

__all__ = ["MARGIN", "SCALE", "Pairs", "enlarge4", "reduce4", "to_tensor"]

SCALE = 4
MARGIN = 3  # LR pixels cut away after enlarging, so that y does not feel the patch border

Pixels = NDArray[np.uint8]


def to_tensor(image: Pixels) -> Tensor:
    """uint8 `[..., H, W, 3]` to float32 `[..., 3, H, W]` in [-1, 1]."""
    return torch.from_numpy(np.array(image)).float().div(127.5).sub(1).movedim(-1, -3)


def reduce4(hr: Pixels) -> Pixels:
    """Antialiased bicubic /4, rounded to uint8 as a camera or a user's file would be."""
    height, width = hr.shape[:2]
    small = Image.fromarray(hr).resize((width // SCALE, height // SCALE), Image.Resampling.BICUBIC)
    return np.asarray(small)


def enlarge4(lr: Tensor) -> Tensor:
    """Bicubic x4 (a = -0.5), equal to Pillow's."""
    return functional.interpolate(lr, scale_factor=SCALE, mode="bicubic", antialias=True)


class Pairs:
    """Aligned HR and LR images of one folder, and random patches from them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.names = sorted(folder.glob("*.png"))
        self.hr = [np.asarray(Image.open(name).convert("RGB")) for name in self.names]
        self.lr = [reduce4(hr) for hr in self.hr]
        self.draw = random.Random(seed)
        self.share = [math.sqrt(lr.shape[0] * lr.shape[1]) for lr in self.lr]

    def patch(self, side: int) -> tuple[Pixels, Pixels]:
        """LR patch `[side + 2 MARGIN, ...]` and the HR patch of its core: the livelier of two, flipped at random."""
        best: tuple[float, Pixels, Pixels] | None = None
        for _ in range(2):
            (index,) = self.draw.choices(range(len(self.lr)), self.share)
            lr, hr, whole = self.lr[index], self.hr[index], side + 2 * MARGIN
            top = self.draw.randrange(lr.shape[0] - whole + 1)
            left = self.draw.randrange(lr.shape[1] - whole + 1)
            low = lr[top : top + whole, left : left + whole]
            rows, columns = (SCALE * (start + MARGIN) for start in (top, left))
            high = hr[rows : rows + SCALE * side, columns : columns + SCALE * side]
            contrast = float(np.abs(np.diff(low.astype(np.float32), axis=0)).mean())
            if best is None or contrast > best[0]:
                best = (contrast, low, high)
        assert best is not None
        turns, flip = self.draw.randrange(4), self.draw.random() < 0.5
        low, high = (np.rot90(image, turns) for image in best[1:])
        return (low[:, ::-1], high[:, ::-1]) if flip else (low, high)

    def patches(self, count: int, side: int) -> tuple[Pixels, Pixels]:
        """LR `[count, side, side, 3]` and HR `[count, 4 side, 4 side, 3]`, the patches' margins cut away."""
        lows, highs = zip(*(self.patch(side) for _ in range(count)), strict=True)
        return np.stack(lows)[:, MARGIN:-MARGIN, MARGIN:-MARGIN], np.stack(highs)

    def batch(self, count: int, side: int) -> tuple[Tensor, Tensor]:
        """`x0` and `y`, both `[count, 3, 4 side, 4 side]`."""
        lows, highs = zip(*(self.patch(side) for _ in range(count)), strict=True)
        cut = SCALE * MARGIN
        y = enlarge4(to_tensor(np.stack(lows)))[..., cut:-cut, cut:-cut]
        return to_tensor(np.stack(highs)), y
