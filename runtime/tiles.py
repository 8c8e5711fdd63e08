"""Tile plans: which boxes of a canvas are run. Pure integers, no pixels; plan first, run second."""

from __future__ import annotations

from dataclasses import dataclass

from lqhq.runtime.errors import LimitError, OptionError
from lqhq.runtime.geometry import Box, Size, round_up

__all__ = ["TilePlan", "fit_tile", "plan_tiles"]

MOST_ALONG = 1 << 16  # tiles along a side: a header of some bytes may claim a row of millions of pixels


@dataclass(frozen=True, slots=True)
class TilePlan:
    """Boxes of one size that cover a canvas: every top with every left, the last ones shifted inward."""

    canvas: Size
    tile: Size
    overlap: int
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    def box(self, index: int) -> Box:
        """Box `index` in row-major order."""
        row, column = divmod(index, len(self.lefts))
        return Box(self.tops[row], self.lefts[column], *self.tile)

    def scaled(self, factor: int) -> TilePlan:
        """The same boxes on a canvas `factor` times as large."""
        tops, lefts = (tuple(start * factor for start in starts) for starts in (self.tops, self.lefts))
        return TilePlan(self.canvas.scaled(factor), self.tile.scaled(factor), self.overlap * factor, tops, lefts)

    def core(self, index: int, *, multiple: int) -> Box:
        """The part of box `index` that is its own: cores cut overlaps in the middle, and cover the canvas once."""
        row, column = divmod(index, len(self.lefts))
        top, bottom = _core(self.tops, row, self.tile.height, self.canvas.height, multiple)
        left, right = _core(self.lefts, column, self.tile.width, self.canvas.width, multiple)
        return Box(top, left, bottom - top, right - left)

    @property
    def overhead(self) -> float:
        """Pixels run for each pixel of the canvas; 1.0 is untiled."""
        return len(self) * self.tile.pixels / self.canvas.pixels


def _core(starts: tuple[int, ...], at: int, side: int, length: int, multiple: int) -> tuple[int, int]:
    """First and last of the core along one axis, at multiples of `multiple`."""

    def cut(at: int) -> int:
        return (starts[at] + starts[at - 1] + side) // 2 // multiple * multiple

    return cut(at) if at else 0, cut(at + 1) if at + 1 < len(starts) else length


def _count(length: int, tile: int, overlap: int) -> int:
    """Tiles that cover `length`. Told without a list of them."""
    return 1 if tile == length else len(range(0, length - tile, tile - overlap)) + 1


def _starts(length: int, tile: int, overlap: int) -> tuple[int, ...]:
    count = _count(length, tile, overlap)
    if count > MOST_ALONG:
        raise LimitError(
            "tile",
            found=f"{tile} with overlap {overlap}: {count} tiles along a side of {length} pixels",
            expected=f"at most {MOST_ALONG}",
            mend="Give a larger tile, or more memory where it is chosen, or restore a smaller image.",
        )
    return (*range(0, length - tile, tile - overlap), length - tile) if count > 1 else (0,)


def plan_tiles(canvas: Size, tile: Size, *, overlap: int, multiple: int, dense: bool = False) -> TilePlan:
    """Cover `canvas` with boxes of `tile` that share at least `overlap` pixels with each neighbour.

    The canvas, the tile and the overlap are multiples of `multiple`; a tile larger than the canvas is cut to it.
    `dense` lets neighbours share more than half of a tile, as the original rules of some models do.
    Raises `OptionError` when they are not, or when the overlap is more than half of the tile (`dense`: all of it)
    along an axis that is tiled; `LimitError` for more than `MOST_ALONG` tiles along one.
    """
    for name, value in (("tile", tile.height), ("tile", tile.width), ("overlap", overlap)):
        if value % multiple or value < 0:
            raise OptionError(
                name,
                found=str(value),
                expected=f"a multiple of {multiple}, which this network needs",
                mend=f"Use {max(multiple if name == 'tile' else 0, round(value / multiple) * multiple)}.",
            )
    if canvas.height % multiple or canvas.width % multiple:
        raise ValueError(f"canvas: found {canvas}; expected multiples of {multiple}: pad it first")
    tile = Size(min(tile.height, canvas.height), min(tile.width, canvas.width))
    for length, side in zip(canvas, tile, strict=True):
        most = side - 1 if dense else side // 2
        if side < length and overlap > most:
            raise OptionError(
                "overlap",
                found=f"{overlap} with tile {side}",
                expected=f"less than the tile, {most}" if dense else f"at most half of the tile, {most}",
                mend="Give a larger tile or a smaller overlap.",
            )
    rows, columns = (_starts(length, side, overlap) for length, side in zip(canvas, tile, strict=True))
    return TilePlan(canvas, tile, overlap, rows, columns)


def fit_tile(length: int, tile: int, *, overlap: int, multiple: int) -> int:
    """The smallest side that covers `length` with as few tiles as `tile` does: the last is hardly shifted then.

    For engines with free shapes; one with a fixed shape takes `tile` as it is.
    """
    if tile >= length:
        return length
    count = _count(length, tile, overlap)
    evenly = -(-(length + (count - 1) * overlap) // count)
    least = max(evenly, 2 * overlap)  # neighbours may share at most half of a tile
    return min(tile, round_up(least, multiple))
