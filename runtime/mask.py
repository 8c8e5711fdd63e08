"""The mask of an image: which pixels are the hole."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.errors import ImageError, OptionError
from lqhq.runtime.manifest import Manifest

__all__ = ["hole_of", "require_mask"]


def require_mask(manifest: Manifest, *, given: bool) -> None:
    """Raise `OptionError` where the bundle needs a mask and none was given, or takes none and one was."""
    if given and not manifest.masked:
        raise OptionError(
            "mask",
            found="a mask",
            expected=f"none: {manifest.name!r} takes no mask",
            mend="Leave it out, or use a bundle that takes it (`lqhq inspect` says).",
        )
    if not given and manifest.masked:
        raise OptionError(
            "mask",
            found="none",
            expected=f"a mask: {manifest.name!r} fills the hole that it shows",
            mend="Give a grey image of the same size, black where the image is to be kept (--mask FILE).",
        )


def hole_of(mask: NDArray[Any] | None, image: NDArray[Any], manifest: Manifest) -> NDArray[np.bool_] | None:
    """The hole `[H, W]` of `mask`, `[H, W]` or `[H, W, 1]` of bools or numbers: all that is above zero.

    None for a bundle without mask_out. Raises `OptionError` where a mask is missing or not taken, `ImageError`
    where it does not fit `image` `[H, W, C]`.
    """
    require_mask(manifest, given=mask is not None)
    if mask is None:
        return None
    if not isinstance(mask, np.ndarray) or mask.shape not in (image.shape[:2], (*image.shape[:2], 1)):
        raise ImageError(
            "mask",
            found=f"shape {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__,
            expected=f"{list(image.shape[:2])}, the size of the image",
            mend="Give one grey value for each pixel of the image.",
        )
    if mask.dtype.kind not in "buif" or not np.isfinite(mask).all():
        raise ImageError(
            "mask",
            found=f"{mask.dtype}" if mask.dtype.kind not in "buif" else "values that are no finite numbers",
            expected="bools or finite numbers, above zero inside the hole",
            mend="Convert it: mask > 0.",
        )
    return mask.reshape(image.shape[:2]) > 0
