"""What damage leaves in a photo, in numbers: noise of luma, steps on the JPEG grid, blotches of colour.

All are taken where the photo itself is calm, and that is decided on the undamaged photo: what is compared differs then
in its damage alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lqhq.tools.lq_damage import Array, Pixels, blur, to_ycc

__all__ = ["STATISTICS", "calm", "content_psnr", "remaining", "statistics"]

STATISTICS = ("luma noise", "grain size", "blockiness", "colour noise", "blotch size")
GRID = 8  # pixels of a JPEG block
CALM = 0.2  # share of a photo that counts as calm; a half of it still has more detail of its own than damage
WIDE = 4.0  # pixels: blotches of colour are smaller
CONTENT = 2.0  # pixels: what is left under such a blur is content, not damage


def calm(photo: Pixels) -> NDArray[np.bool_]:
    """Where `[H, W]` the undamaged photo, uint8 `[H, W, 3]`, has least detail of luma and of colour."""
    ycc = to_ycc(photo.astype(np.float32))
    activity = blur(np.abs(ycc - blur(ycc, WIDE)).sum(axis=-1), 2.0)
    return np.asarray(activity <= np.quantile(activity, CALM))


def statistics(image: Pixels, where: NDArray[np.bool_]) -> dict[str, float]:
    """By the names of `STATISTICS`, of uint8 `[H, W, 3]` over the pixels `where` `[H, W]`.

    Noise of luma and of colour: levels, standard deviation of what a blur of 1 and of 4 px takes away. Size of grain
    and of blotches: correlation of that at a distance of 1 and of 2 px, in [-1, 1]. Blockiness: mean step between
    neighbours over a border of the JPEG grid, by that elsewhere; 1 where there is no such grid.
    """
    ycc = to_ycc(image.astype(np.float32))
    fine = ycc[..., :1] - blur(ycc[..., :1], 1.0)
    colour = ycc[..., 1:] - blur(ycc[..., 1:], WIDE)
    return {
        "luma noise": float(fine[where].std()),
        "grain size": _correlation(fine, where, 1),
        "blockiness": _blockiness(ycc[..., 0], where),
        "colour noise": float(colour[where].std()),
        "blotch size": _correlation(colour, where, 2),
    }


def _correlation(field: Array, where: NDArray[np.bool_], distance: int) -> float:
    """Of the values of `field` `[H, W, C]` with those `distance` px to the right and below."""
    products, squares = 0.0, 0.0
    for values, mask in ((field, where), (field.swapaxes(0, 1), where.T)):
        both = mask[:, distance:] & mask[:, :-distance]
        here, there = values[:, :-distance][both], values[:, distance:][both]
        products += float((here * there).sum())
        squares += float((here.astype(np.float64) ** 2 + there.astype(np.float64) ** 2).sum()) / 2
    return products / max(squares, 1e-9)


def _blockiness(luma: Array, where: NDArray[np.bool_]) -> float:
    border, inside = [], []
    for values, mask in ((luma, where), (luma.T, where.T)):
        steps, both = np.abs(np.diff(values, axis=1)), mask[:, 1:] & mask[:, :-1]
        at_border = np.arange(1, values.shape[1]) % GRID == 0
        border.append(steps[:, at_border][both[:, at_border]])
        inside.append(steps[:, ~at_border][both[:, ~at_border]])
    return float(np.concatenate(border).mean() / max(float(np.concatenate(inside).mean()), 1e-9))


def content_psnr(one: Pixels, other: Pixels) -> float:
    """dB between two images under a blur that hides their damage."""
    first, second = (blur(image.astype(np.float32), CONTENT) for image in (one, other))
    return float(10 * np.log10(255**2 / max(float(np.mean((first - second) ** 2)), 1e-9)))


def remaining(before: Sequence[float], after: Sequence[float], target: Sequence[float]) -> float:
    """The distance of `after` to `target` over that of `before`, over photos: 0 is there, 1 is no nearer.

    Distances are means of absolute differences photo by photo, so that values that go past the target count as far.
    """
    gap = np.mean(np.abs(np.subtract(before, target)))
    return float(np.mean(np.abs(np.subtract(after, target))) / gap)
