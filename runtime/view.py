"""A bundle as one image sees it: by which rules it is prepared and finished, and of what size it enters the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.geometry import Size
from lqhq.runtime.manifest import Crop, Manifest, Pad, Quantize
from lqhq.runtime.original import original_image, original_size
from lqhq.runtime.restore_options import Rules
from lqhq.runtime.rules_spec import OriginalRules
from lqhq.runtime.small_image import enlarged_small, shrunk, small_size
from lqhq.runtime.window import Window

__all__ = ["View", "view_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """`manifest` holds the steps from an image of `size` on; what comes before and after them is here.

    `given` is the size of the image as it came; `original` are the model's own rules, where they were asked for.
    """

    manifest: Manifest
    given: Size
    size: Size
    original: OriginalRules | None

    @property
    def window(self) -> Window:
        """How tiles of latents are blended."""
        return self.original.window if self.original else "ramp"

    def prepared(self, image: NDArray[Any]) -> NDArray[Any]:
        """`image` at `size`; the same array where nothing is to be done. Raises `OptionError`."""
        if self.original is not None:
            return original_image(image, self.original)
        small = self.manifest.small
        return image if small is None else enlarged_small(image, small.side)

    def finished(self, result: NDArray[Any]) -> NDArray[Any]:
        """The result at the size that was promised: `scale` times the given image; the original keeps what it has."""
        if self.original is not None or self.size == self.given:
            return result
        return shrunk(result, self.given.scaled(self.manifest.scale))

    def held_bytes(self, channels: int, itemsize: int) -> int:
        """What the image at `size` takes beside the one that was given."""
        return 0 if self.size == self.given else int(np.prod((*self.size, channels, itemsize)))


def view_of(manifest: Manifest, size: Size, rules: Rules) -> View:
    """The view of an image of `size`. Raises `OptionError` where the original's rules leave no pixel."""
    if rules == "original":
        original = manifest.original
        assert original is not None  # `rules_of` has refused the others
        return View(manifest=_original(manifest), given=size, size=original_size(size, original), original=original)
    small = manifest.small
    return View(manifest=manifest, given=size, size=small_size(size, small.side) if small else size, original=None)


def _original(manifest: Manifest) -> Manifest:
    """What is left of the steps behind the original's own: it gives an image that fits, and cuts off fractions."""
    multiple = manifest.tiles.multiple
    colour = (manifest.colour,) if manifest.colour else ()
    return msgspec.structs.replace(
        manifest,
        scale=1,
        prepare=(Pad(mode="edge", multiple=multiple, smallest=multiple),),
        tiles=msgspec.structs.replace(manifest.tiles, smallest=multiple),
        finish=(Crop(), *colour, Quantize(mode="truncate")),
        original=None,
    )
