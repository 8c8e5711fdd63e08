"""Crops of damaged small photos: what the demo of synthesis is trained on."""

from __future__ import annotations

import math
import random
from collections import deque
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lqhq.tools.demo_pairs import to_tensor
from lqhq.tools.lq_damage import Pixels, damage

__all__ = ["GRID", "Crops"]

GRID = 8  # pixels of a JPEG block, and of the network's coarsest cell
REDUCE = (2.5, 4.0)  # synthesis runs on photos at a quarter of their size; a little less shows more of each photo
FIRST, POOL = 16, 96  # damaged photos in memory, at the start and later
FRESH = 8  # batches for which the pool stays as it is: damage costs as much as a batch does


class Crops:
    """A pool of damaged photos of one folder; one more every few batches, instead of the oldest once it is full."""

    def __init__(self, folder: Path, seed: int, pool: int = POOL) -> None:
        names = sorted(folder.glob("*.png"))
        self.photos = [np.asarray(Image.open(name).convert("RGB")) for name in names]
        self.share = [math.sqrt(photo.shape[0] * photo.shape[1]) for photo in self.photos]
        self.draw, self.seed, self.made, self.served = random.Random(seed), seed, 0, 0
        self.pool = deque[Pixels]((self.damaged() for _ in range(min(FIRST, pool))), maxlen=pool)

    def damaged(self) -> Pixels:
        """One photo made smaller, turned at random, and then damaged: the JPEG grid starts at its corner."""
        (photo,) = self.draw.choices(self.photos, self.share)
        factor = self.draw.uniform(*REDUCE)
        size = (round(photo.shape[1] / factor), round(photo.shape[0] / factor))
        small = np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC))
        turned = np.rot90(small, self.draw.randrange(4))
        self.made += 1
        return damage(turned[:, ::-1] if self.draw.random() < 0.5 else turned, (self.seed, self.made))

    def batch(self, count: int, side: int) -> Tensor:
        """Crops `[count, 3, side, side]` in [-1, 1], each aligned with the grid of its photo."""
        if self.served % FRESH == FRESH - 1:
            self.pool.append(self.damaged())
        self.served += 1
        return to_tensor(np.stack([self._crop(side) for _ in range(count)])).to(memory_format=torch.channels_last)

    def _crop(self, side: int) -> Pixels:
        photo = self.draw.choice(self.pool)
        top, left = (GRID * self.draw.randrange((length - side) // GRID + 1) for length in photo.shape[:2])
        return photo[top : top + side, left : left + side]
