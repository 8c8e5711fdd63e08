"""Whether the reference arrays of a bundle belong together and to its graphs: wrong ones are an error, no verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.golden_file import unusable
from lqhq.runtime.manifest import Manifest, Tensor

__all__ = ["STREAMS", "check_extras", "check_shapes"]

Arrays = Mapping[str, NDArray[Any]]
STREAMS = ("start", "step", "prior", "posterior")


def check_shapes(file: str, case: str, arrays: Arrays, tensors: Mapping[str, Tensor]) -> None:
    """Raise `BundleError` unless axes of one letter have one length, numbers are as declared, and values finite."""
    sides: dict[str, int] = {}
    for name, tensor in tensors.items():
        shape = arrays[name].shape
        for axis, length in zip(tensor.shape, shape, strict=True):
            letter = axis[-1] if isinstance(axis, str) else ""
            times = int(axis[:-1] or 1) if isinstance(axis, str) else 1
            wanted = times * sides.setdefault(letter, length // times) if letter else axis
            if length != wanted or length < 1 or not np.isfinite(arrays[name]).all():
                raise unusable(file, f"{f'{case}.{name}'[:80]!r} of shape {shape}, or with values that are not finite")


def check_extras(file: str, manifest: Manifest, found: Arrays, schedule: str | None) -> None:
    """Raise `BundleError` unless mask and noise of the finished image are those that it needs, and fit.

    Noise that is missing would be drawn, and the comparison say that the graphs are wrong.
    """
    needed = {"mask"} if manifest.masked else set[str]()
    if schedule is None:
        needed.add("prior")
    else:
        rows = manifest.schedules[schedule]
        needed |= {"start"} if rows.start.c_noise else set()
        needed |= {"step"} if any(row.noisy for row in rows.rows) else set()
    extras = {key for key in (*STREAMS, "mask") if key in found}
    # Export stores every stream of a schedule that draws any, and that of a latent's mean.
    foreign = extras & ({"start", "step", "posterior"} if schedule is None else {"prior"})
    foreign |= extras & ({"posterior"} if manifest.latent is None else set())
    if not needed <= extras or foreign or ("mask" in extras) != manifest.masked:
        raise unusable(file, f"arrays {sorted(found)}, where {sorted(needed)} are needed")
    width = manifest.graphs["encode"]["fp32"].inputs["noise"].shape[1:] if schedule is None else None
    fits = schedule is not None or (found["prior"].shape == width and bool(np.isfinite(found["prior"]).all()))
    if not fits or ("mask" in found and found["mask"].shape != found["image"].shape[:2]):
        raise unusable(file, "a mask or noise of another size than the image and the graphs take")
