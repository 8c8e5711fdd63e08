"""How a demo is judged: PSNR and SSIM on luma, and the least-squares linear filter as the rival to beat."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from lqhq.tools.demo_pairs import MARGIN, SCALE, Pairs, to_tensor

__all__ = ["LinearFilter", "Method", "judge", "luma", "psnr_y", "ssim_y"]

Method = Callable[[Tensor], Tensor]  # LR `[1, 3, H, W]` to HR `[1, 3, 4H, 4W]`, both in [-1, 1]


def luma(image: Tensor) -> Tensor:
    """BT.601 Y in 0..255 of `[3, H, W]` in [-1, 1], borders of one LR pixel cut away."""
    weights = torch.tensor([65.481, 128.553, 24.966])
    y = 16 + torch.einsum("c,chw->hw", weights, (image.clamp(-1, 1) + 1) / 2)
    return y[SCALE:-SCALE, SCALE:-SCALE]


def psnr_y(image: Tensor, hr: Tensor) -> float:
    """PSNR in dB of two `[3, H, W]` in [-1, 1], on luma."""
    return 10 * math.log10(255**2 / float((luma(image) - luma(hr)).square().mean()))


def ssim_y(image: Tensor, hr: Tensor) -> float:
    """SSIM (Wang et al. 2004): 11x11 Gaussian window, sigma 1.5, on Y."""
    axis = torch.arange(11) - 5.0
    line = torch.exp(-axis.square() / (2 * 1.5**2))
    window = (line[:, None] * line[None, :] / line.sum() ** 2)[None, None].double()
    a, b = luma(image)[None, None].double(), luma(hr)[None, None].double()

    def blur(x: Tensor) -> Tensor:
        return functional.conv2d(x, window)

    mean_a, mean_b, c1, c2 = blur(a), blur(b), (0.01 * 255) ** 2, (0.03 * 255) ** 2
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    cov = blur(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    return float((top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean())


class LinearFilter:
    """The rival: every HR pixel of a 4x4 cell is the best linear mix of 5x5 LR pixels, fitted on training photos."""

    def __init__(self, pairs: Pairs, patches: int = 3000) -> None:
        gram, cross = torch.zeros(25, 25).double(), torch.zeros(25, 16).double()
        for _ in range(patches // 50):
            lows, highs = zip(*(pairs.patch(24) for _ in range(50)), strict=True)
            cut = MARGIN - 2
            low = to_tensor(np.stack(lows))[..., cut:-cut, cut:-cut]
            cells = functional.unfold(low.reshape(-1, 1, *low.shape[2:]), 5).movedim(1, 2)
            high = to_tensor(np.stack(highs)).reshape(-1, 1, 96, 96)
            target = functional.pixel_unshuffle(high, SCALE).flatten(2).movedim(1, 2)
            gram += torch.einsum("npi,npj->ij", cells.double(), cells.double())
            cross += torch.einsum("npi,npo->io", cells.double(), target.double())
        self.weights = torch.linalg.solve(gram, cross).float()

    def __call__(self, lr: Tensor) -> Tensor:
        """`[1, 3, H, W]` to `[1, 3, 4H, 4W]`."""
        padded = functional.pad(lr, (2, 2, 2, 2), mode="replicate").movedim(0, 1)
        cells = functional.unfold(padded, 5).movedim(1, 2) @ self.weights
        cells = cells.movedim(1, 2).reshape(3, 16, *lr.shape[2:])
        return functional.pixel_shuffle(cells, SCALE).movedim(0, 1)


@torch.no_grad()
def judge(methods: Mapping[str, Method], pairs: Pairs) -> dict[str, dict[str, Any]]:
    """Per method the mean PSNR-Y in dB and SSIM over whole photos, and both for every photo by its name."""
    rows: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in methods}
    for photo, hr8, lr8 in zip(pairs.names, pairs.hr, pairs.lr, strict=True):
        hr, lr = to_tensor(hr8), to_tensor(lr8)[None]
        for name, method in methods.items():
            image = method(lr)[0]
            rows[name][photo.stem] = (psnr_y(image, hr), ssim_y(image, hr))
    return {name: _means(each) for name, each in rows.items()}


def _means(each: Mapping[str, tuple[float, float]]) -> dict[str, Any]:
    psnr, ssim = (float(np.mean(column)) for column in zip(*each.values(), strict=True))
    photos = {photo: [round(value, 4) for value in pair] for photo, pair in each.items()}
    return {"psnr_y": round(psnr, 4), "ssim": round(ssim, 5), "photos": photos}
