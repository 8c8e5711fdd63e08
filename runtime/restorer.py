"""The door for programs: open a bundle, restore images."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lqhq.kernels.pack_pixels import FULL_SCALE
from lqhq.runtime.alpha import bleed, constant_value, join_alpha, split_alpha
from lqhq.runtime.autotile import Choice, choose_tiles
from lqhq.runtime.bundle import Bundle, open_bundle
from lqhq.runtime.colour import fix_colour
from lqhq.runtime.driver import drive
from lqhq.runtime.engines import open_session
from lqhq.runtime.errors import ImageError, OptionError
from lqhq.runtime.job import Job
from lqhq.runtime.machine import available_memory, cpu_count
from lqhq.runtime.noise import NoiseField
from lqhq.runtime.prepare import PreparedImage
from lqhq.runtime.schedule import Schedule
from lqhq.runtime.session import Session
from lqhq.runtime.sink import ImageSink

__all__ = ["Restorer"]

MEMORY_SHARE = 0.8  # of what is available; the rest is for what the estimate does not see
CHANNELS = 3

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
        if threads is not None and threads < 1:
            raise OptionError("threads", found=str(threads), expected="1 or more", mend="Leave it out for all.")
        path = opened.path(variants[precision].file)
        return cls(opened, open_session(engine, path, device=device, threads=threads or cpu_count()))

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

        Raises `OptionError` for an unknown name.
        """
        if isinstance(name, Schedule):
            return name
        schedules = self.bundle.manifest.schedules
        name = self.bundle.manifest.default_schedule if name is None else name
        if name not in schedules:
            raise OptionError(
                "schedule",
                found=repr(name),
                expected=f"one of {', '.join(sorted(schedules))}",
                mend="`lqhq inspect` lists the schedules of a bundle.",
            )
        return schedules[name]

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
        """The tiles that `restore` would use for `image`, and why. Raises `LimitError` when nothing fits."""
        manifest, chosen = self.bundle.manifest, self.schedule(schedule)
        source = PreparedImage(image, manifest)
        result = source.size.pixels * image.shape[2] * image.dtype.itemsize
        return choose_tiles(
            manifest,
            source.canvas,
            tile="auto" if tile is None else tile,
            overlap=overlap,
            blend=self._blend(blend),
            depth=chosen.depth,
            held_bytes=image.nbytes + 2 * result,
            budget_bytes=int(available_memory() * MEMORY_SHARE) if memory is None else memory,
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
        straight alpha, which is restored apart. `seed` draws the noise of stochastic schedules; `noise` replaces
        it by arrays (`start` `[3, H', W']`, `step` `[rows, 3, H', W']`, N(0, 1), of the prepared image's size).
        `tile` (a side, or "auto") and `overlap` are pixels of the prepared image; `blend` is "final" or "each";
        `memory` is the budget in bytes. `color_fix` is "none", "wavelet" or "adain". `progress(done, total)` counts
        network calls. `mask`, `prompt` and `strength` are for bundles that take them; this release reads none such.

        Raises `ImageError`, `OptionError`, `LimitError`, `EngineError`, `CancelledError`.
        """
        for name, value in (("mask", mask), ("prompt", prompt), ("strength", strength)):
            if value is not None:
                raise OptionError(
                    name,
                    found=repr(value) if name != "mask" else "a mask",
                    expected=f"none: {self.bundle.manifest.name!r} takes no {name}",
                    mend="Leave it out, or use a bundle that takes it (`lqhq inspect` says).",
                )
        _check_image(image)
        colour, alpha = split_alpha(image)
        if alpha is not None:
            colour = bleed(colour, alpha)
        flat = None if alpha is None else constant_value(alpha)
        planes = [colour] if alpha is None or flat is not None else [colour, alpha]
        choice = self.plan(colour, schedule=schedule, tile=tile, overlap=overlap, blend=blend, memory=memory)
        jobs, results = [], []
        for plane in planes:
            source, sink = self._ends(plane)
            field = self._noise(source, schedule, seed, noise)
            jobs.append(
                Job(
                    source,
                    schedule=self.schedule(schedule),
                    plan=choice.plan,
                    blend=self._blend(blend),
                    noise=field,
                    sink=sink,
                )
            )
        drive(jobs, self._session, progress=progress, cancel=cancel)
        for index, job in enumerate(jobs):
            result = job.result()
            if color_fix != "none" and index == 0:
                result = fix_colour(color_fix, result, PreparedImage(colour, self.bundle.manifest).pixels)  # type: ignore[arg-type]
            results.append(result)
        if alpha is None:
            return results[0]
        if len(results) == 1:
            results.append(np.full((*results[0].shape[:2], 1), flat, alpha.dtype))
        return join_alpha(results[0], results[1])

    def _blend(self, blend: str | None) -> str:
        blend = self.bundle.manifest.tiles.blend if blend is None else blend
        if blend not in ("each", "final"):
            raise OptionError(
                "blend", found=repr(blend), expected="'each' or 'final'", mend="Leave it out for the bundle's own."
            )
        return blend

    def _ends(self, plane: Image) -> tuple[PreparedImage, ImageSink]:
        source = PreparedImage(plane, self.bundle.manifest)
        sink = ImageSink(source.size, channels=plane.shape[2], dtype=plane.dtype, manifest=self.bundle.manifest)
        return source, sink

    def _noise(
        self,
        source: PreparedImage,
        schedule: str | Schedule | None,
        seed: int,
        injected: Mapping[str, NDArray[np.float32]] | None,
    ) -> NoiseField:
        rows = len(self.schedule(schedule).rows)
        return NoiseField(seed=seed, channels=CHANNELS, size=source.size, rows=rows, injected=injected)


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
