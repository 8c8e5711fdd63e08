"""The door for programs: open a bundle, restore images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import NDArray

from lqhq.kernels.pack_pixels import FULL_SCALE
from lqhq.runtime.alpha import bleed, constant_value, join_alpha, split_alpha
from lqhq.runtime.autotile import Choice, choose_tiles, default_budget
from lqhq.runtime.bundle import Bundle, open_bundle
from lqhq.runtime.colour import ColourFix, fix_colour
from lqhq.runtime.driver import drive
from lqhq.runtime.engines import open_session
from lqhq.runtime.errors import ImageError, OptionError
from lqhq.runtime.job import Job
from lqhq.runtime.machine import cpu_count
from lqhq.runtime.noise import NoiseField
from lqhq.runtime.prepare import PreparedImage
from lqhq.runtime.schedule import Schedule
from lqhq.runtime.session import Session
from lqhq.runtime.sink import ImageSink

__all__ = ["Restorer"]

CHANNELS = 3
BLEED_BYTES = 60  # of each pixel with alpha, while hidden colours are filled: measured

Progress = Callable[[int, int], None]
Image = NDArray[Any]


class Restorer:
    """An opened bundle on one device. Close it, or use it in a `with` statement. One thread at a time."""

    def __init__(self, bundle: Bundle, session: Session) -> None:
        self.bundle = bundle
        self._session = session

    @classmethod
    def open(
        cls,
        bundle: str | Path | Bundle,
        *,
        device: str = "cpu",
        engine: str = "onnx",
        precision: str = "fp32",
        threads: int | None = None,
    ) -> Restorer:
        """Open `bundle`: a folder, an opened `Bundle`, or "demo" for the one that ships with lqhq.

        `threads` is the engine's thread count; None takes the processors that this process may use. Raises
        `BundleError`, `EngineError`, or `OptionError` for a precision that the bundle does not hold.
        """
        opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
        variants = opened.manifest.graphs["denoise"]
        if precision not in variants:
            raise OptionError(
                "precision",
                found=repr(precision),
                expected=f"one of {', '.join(sorted(variants))}",
                mend="Export the checkpoint again with this --precision, or leave it out.",
            )
        path = opened.path(variants[precision].file)
        return cls(
            opened, open_session(engine, path, device=device, threads=cpu_count() if threads is None else threads)
        )

    def close(self) -> None:
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def schedule(self, name: str | Schedule | None) -> Schedule:
        """The schedule of that name, or the bundle's default. A `Schedule` is taken as it is.

        Raises `OptionError` for an unknown name, or one whose noise is learned where the graph gives no variance.
        """
        schedules = self.bundle.manifest.schedules
        if not isinstance(name, Schedule):
            name = self.bundle.manifest.default_schedule if name is None else name
            if name not in schedules:
                raise OptionError(
                    "schedule",
                    found=repr(name),
                    expected=f"one of {', '.join(sorted(schedules))}",
                    mend="`lqhq inspect` lists the schedules of a bundle.",
                )
            return schedules[name]
        if name.needs_variance and "var" not in self.bundle.manifest.graphs["denoise"]["fp32"].outputs:
            raise OptionError(
                "schedule",
                found="rows with log_sigma",
                expected="rows with sigma: this bundle's graph gives no variance",
                mend="Build the schedule with a fixed variance.",
            )
        return name

    def plan(
        self,
        image: Image,
        *,
        schedule: str | Schedule | None = None,
        tile: int | str | None = None,
        overlap: int | None = None,
        blend: str | None = None,
        memory: int | None = None,
    ) -> Choice:
        """The tiles that `restore` would use for `image`, and why. Raises as `restore` does."""
        _check_image(image)
        source = PreparedImage(split_alpha(image)[0], self.bundle.manifest)
        height, width, channels = image.shape
        # Image and result; a colour fix makes the result anew; alpha is filled in floats before the network runs.
        held = image.nbytes + 2 * source.size.pixels * channels * image.dtype.itemsize
        held += BLEED_BYTES * height * width if channels % 2 == 0 else 0
        return choose_tiles(
            self.bundle.manifest,
            source.canvas,
            tile="auto" if tile is None else int(tile) if isinstance(tile, np.integer) else tile,
            overlap=overlap,
            blend=self._blend(blend),
            depth=self.schedule(schedule).depth,
            held_bytes=held,
            budget_bytes=default_budget() if memory is None else memory,
        )

    def restore(
        self,
        image: Image,
        *,
        mask: Image | None = None,
        prompt: str | None = None,
        schedule: str | Schedule | None = None,
        strength: float | None = None,
        seed: int = 0,
        noise: Mapping[str, NDArray[np.float32]] | None = None,
        tile: int | str | None = None,
        overlap: int | None = None,
        blend: str | None = None,
        memory: int | None = None,
        color_fix: str = "none",
        progress: Progress | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> Image:
        """Restore one image; the result has the same dtype and channels, and `scale` times the sides.

        `image` is `[H, W, C]`: uint8, uint16, or float32 in [0, 1]; C is 1 (grey), 3 (RGB), or one more with
        straight alpha, which is restored apart, with the same noise. `seed` draws the noise of stochastic schedules;
        `noise` replaces it by arrays (`start` `[3, H', W']`, `step` `[rows, 3, H', W']`, N(0, 1), of the prepared
        image's size). `tile` (a side, or "auto") and `overlap` are pixels of the prepared image; `blend` is "final" or
        "each"; `memory` is the budget in bytes. `color_fix` is "none", "wavelet" or "adain". `progress(done, total)`
        counts network calls. `mask`, `prompt` and `strength` are for bundles that take them; this release reads none.

        Raises `ImageError`, `OptionError`, `LimitError`, `EngineError`, `CancelledError`.
        """
        self._refuse_foreign(mask=mask, prompt=prompt, strength=strength)
        fix = _colour_fix(color_fix)
        choice = self.plan(image, schedule=schedule, tile=tile, overlap=overlap, blend=blend, memory=memory)
        colour, alpha = split_alpha(image)
        flat = None if alpha is None else constant_value(alpha)
        planes = [colour if alpha is None else bleed(colour, alpha)]
        planes += [alpha] if alpha is not None and flat is None else []
        results = []
        for index, plane in enumerate(planes):  # one after the other: two at once would take twice the memory
            source = PreparedImage(plane, self.bundle.manifest)
            job = self._job(source, plane, self.schedule(schedule), choice, self._blend(blend), seed, noise)
            drive([job], self._session, progress=_part(progress, index, len(planes)), cancel=cancel)
            result = job.result()
            results.append(fix_colour(fix, result, source.pixels) if fix and index == 0 else result)
        if alpha is None:
            return results[0]
        if flat is not None:
            results.append(np.full((*results[0].shape[:2], 1), flat, alpha.dtype))
        return join_alpha(*results)

    def _job(
        self,
        source: PreparedImage,
        plane: Image,
        schedule: Schedule,
        choice: Choice,
        blend: str,
        seed: int,
        noise: Mapping[str, NDArray[np.float32]] | None,
    ) -> Job:
        manifest, rows = self.bundle.manifest, len(schedule.rows)
        return Job(
            source,
            schedule=schedule,
            plan=choice.plan,
            blend=blend,
            noise=NoiseField(seed=seed, channels=CHANNELS, size=source.size, rows=rows, injected=noise),
            sink=ImageSink(source.size, channels=plane.shape[2], dtype=plane.dtype, manifest=manifest),
        )

    def _refuse_foreign(self, **given: object) -> None:
        """Options of the design that no bundle of this release takes."""
        for name, value in given.items():
            if value is not None:
                raise OptionError(
                    name,
                    found="a mask" if name == "mask" else repr(value),
                    expected=f"none: {self.bundle.manifest.name!r} takes no {name}",
                    mend="Leave it out, or use a bundle that takes it (`lqhq inspect` says).",
                )

    def _blend(self, blend: str | None) -> str:
        blend = self.bundle.manifest.tiles.blend if blend is None else blend
        if blend not in ("each", "final"):
            raise OptionError(
                "blend", found=repr(blend), expected="'each' or 'final'", mend="Leave it out for the bundle's own."
            )
        return blend


def _colour_fix(kind: str) -> ColourFix | None:
    """None for "none". Told before the work, not after it."""
    if kind == "none":
        return None
    for known in get_args(ColourFix):
        if kind == known:
            fix: ColourFix = known
            return fix
    raise OptionError(
        "color_fix",
        found=repr(kind),
        expected=f"none, {' or '.join(get_args(ColourFix))}",
        mend="Leave it out to keep the network's colours.",
    )


def _part(progress: Progress | None, index: int, count: int) -> Progress | None:
    """Progress of plane `index` of `count` as progress of the whole: every plane has the same plan."""
    if progress is None or count == 1:
        return progress
    return lambda done, total: progress(index * total + done, count * total)


def _check_image(image: Image) -> None:
    if not isinstance(image, np.ndarray) or image.dtype.name not in FULL_SCALE:
        found = f"{image.dtype} array" if isinstance(image, np.ndarray) else type(image).__name__
        raise ImageError(
            "image",
            found=found,
            expected="a NumPy array of uint8, uint16, or float32 in [0, 1]",
            mend="Convert it: numpy.asarray(image), then .astype.",
        )
    if image.ndim != 3 or not 1 <= image.shape[2] <= 4 or 0 in image.shape:
        raise ImageError(
            "image",
            found=f"shape {image.shape}",
            expected="[H, W, C] with C from 1 to 4 and no empty side",
            mend="Add the channel axis: image[:, :, None].",
        )
    if image.dtype == np.float32 and not (np.isfinite(image).all() and 0 <= image.min() <= image.max() <= 1):
        raise ImageError(
            "image",
            found=f"float32 from {image.min()} to {image.max()}",
            expected="values in [0, 1]",
            mend="Scale it, or give uint8 or uint16.",
        )
