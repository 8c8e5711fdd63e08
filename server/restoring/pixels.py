"""What is done with pixels off the event loop: a file into a restoration, a restoration into a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lqhq.runtime.errors import ImageError
from lqhq.runtime.geometry import Size
from lqhq.runtime.image_file import ImageFile
from lqhq.runtime.image_form import ImageForm
from lqhq.runtime.plane_job import Tiles
from lqhq.runtime.restoration import Restoration
from lqhq.server.models.served_model import ServedModel
from lqhq.server.restoring.ask import Ask, Picture
from lqhq.server.restoring.bit_depth import in_depth
from lqhq.server.restoring.deliveries import check_delivery, delivered
from lqhq.server.restoring.pictures import read_hole, read_picture
from lqhq.server.restoring.planning import Plan

__all__ = ["Finished", "Prepared", "finish", "prepare"]

NO_PIXELS = np.empty((0, 0, 1), np.uint8)


class Prepared(NamedTuple):
    """A restoration that is ready to run, what the image's file held beside its pixels, and the seconds it took."""

    restoration: Restoration
    file: ImageFile | None
    seconds: float


class Finished(NamedTuple):
    """The result, when its pixels were there, and the seconds from then on."""

    image: Picture
    pixels_s: float
    encode_s: float


def prepare(
    ask: Ask, served: ServedModel, plan: Plan, max_pixels: int, tiles: Tiles | None, clock: Callable[[], float]
) -> Prepared:
    """Decode and prepare. `tiles` hears of finished boxes. Raises `ImageError`, `LimitError`, `OptionError`."""
    begun_s = clock()
    pixels, file = read_picture(ask.image, max_pixels)
    if ImageForm.of(pixels) != plan.image:
        raise ImageError(
            "image",
            found=f"pixels of {pixels.shape}, {pixels.dtype}, and a header that says {plan.image[:3]}",
            expected="one form",
            mend="Save the image again with another program.",
        )
    if file is not None:
        check_delivery(ask.delivery, plan.result, file.icc)
        file = replace(file, pixels=NO_PIXELS)
    restoration = served.planner.restoration(
        in_depth(pixels, plan.worked.dtype),
        mask=read_hole(ask.mask, Size(plan.image.height, plan.image.width), max_pixels),
        **ask.options.arguments(),
        choice=plan.choice,
        tiles=tiles,
    )
    return Prepared(restoration, file, clock() - begun_s)


def finish(prepared: Prepared, ask: Ask, plan: Plan, clock: Callable[[], float]) -> Finished:
    """Raises what encoding raises."""
    result = prepared.restoration.result()
    pixels_s = clock()
    image = delivered(result, plan.result.dtype, prepared.file, ask.delivery)
    return Finished(image, pixels_s, clock() - pixels_s)
