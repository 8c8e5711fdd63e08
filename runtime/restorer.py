"""The door for programs: open a bundle, restore images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.autotile import Choice
from lqhq.runtime.bundle import Bundle, open_bundle
from lqhq.runtime.bundle_sessions import close_sessions, open_sessions
from lqhq.runtime.driver import drive
from lqhq.runtime.engine_shapes import EngineShapes
from lqhq.runtime.engine_spec import Profile
from lqhq.runtime.engines.setup import Setup, quiet
from lqhq.runtime.image_array import check_image
from lqhq.runtime.image_form import ImageForm
from lqhq.runtime.latent_plan import LatentChoice
from lqhq.runtime.planner import Planner
from lqhq.runtime.precision import Precision
from lqhq.runtime.schedule import Schedule
from lqhq.runtime.session import Session
from lqhq.runtime.session_pool import SessionPool

__all__ = ["Restorer"]

Progress = Callable[[int, int], None]
Image = NDArray[Any]


class Restorer:
    """An opened bundle on one device. Close it, or use it in a `with` statement. One thread at a time."""

    def __init__(
        self,
        bundle: Bundle,
        sessions: Mapping[str, Session],
        *,
        precision: Precision = "fp32",
        say: Callable[[str], None] = quiet,
    ) -> None:
        self.bundle, self.precision = bundle, precision
        self._sessions = sessions  # by role
        shapes = partial(EngineShapes.of, sessions, bundle.manifest)
        self._planner = Planner(bundle, shapes, precision=precision, say=say)

    @classmethod
    def open(
        cls,
        bundle: str | Path | Bundle,
        *,
        device: str | None = None,
        engine: str = "onnx",
        precision: str = "fp32",
        threads: int | None = None,
        profiles: Sequence[Profile] = (),
        cache: Path | None = None,
        say: Callable[[str], None] = quiet,
    ) -> Restorer:
        """Open `bundle`: a folder, an opened `Bundle`, or "demo" for the one that ships with lqhq.

        `engine` is one of `ENGINES`; what `device`, `threads`, `cache` and `say` mean, `Setup` says. `profiles` are the
        shapes of engines that are built for some; none takes those that fit the bundle. Raises `BundleError`,
        `EngineError`, or `OptionError` for a precision that the bundle does not hold.
        """
        opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
        setup = Setup(device=device, threads=threads, profiles=tuple(profiles), cache=cache, say=say)
        sessions = open_sessions(opened, engine, precision, setup)
        first = opened.graph(next(iter(opened.manifest.graphs)), precision)
        return cls(opened, sessions, precision=first.precision, say=say)

    def close(self) -> None:
        close_sessions(self._sessions)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def schedule(self, name: str | Schedule | None) -> Schedule | None:
        """The schedule of that name, or the bundle's default. A `Schedule` is taken as it is.

        None where the bundle's graphs restore at once. Raises `OptionError` for an unknown name, or one whose noise is
        learned where the graph gives no variance.
        """
        return self._planner.schedule(name)

    def check(
        self,
        *,
        masked: bool,
        schedule: str | None,
        blend: str | None,
        prior: str | None,
        color_fix: str | None = None,
        prompt: str | None = None,
        tagger: bool = False,
        rules: str | None = None,
        scratch: Path | None = None,
    ) -> None:
        """Raise `OptionError` for what `restore` would refuse on any image; `masked` says that there are masks."""
        self._planner.check(
            masked=masked,
            schedule=schedule,
            blend=blend,
            prior=prior,
            color_fix=color_fix,
            prompt=prompt,
            tagger=tagger,
            rules=rules,
            scratch=scratch,
        )

    def plan(
        self,
        image: Image,
        *,
        schedule: str | Schedule | None = None,
        tile: int | str | None = None,
        overlap: int | None = None,
        blend: str | None = None,
        prior: str | None = None,
        memory: int | None = None,
        rules: str | None = None,
    ) -> Choice | LatentChoice:
        """The tiles that `restore` would use for `image`, and why. Raises as `restore` does."""
        check_image(image)
        return self._planner.plan(
            ImageForm.of(image),
            schedule=schedule,
            tile=tile,
            overlap=overlap,
            blend=blend,
            prior=prior,
            memory=memory,
            rules=rules,
        )

    def restore(
        self,
        image: Image,
        *,
        mask: Image | None = None,
        prompt: str | None = None,
        tagger: bool = False,
        schedule: str | Schedule | None = None,
        strength: float | None = None,
        seed: int = 0,
        noise: Mapping[str, NDArray[np.float32]] | None = None,
        tile: int | str | None = None,
        overlap: int | None = None,
        blend: str | None = None,
        memory: int | None = None,
        prior: str | None = None,
        color_fix: str | None = None,
        rules: str | None = None,
        scratch: Path | None = None,
        progress: Progress | None = None,
        cancel: Callable[[], bool] | None = None,
    ) -> Image:
        """Restore one image; the result has the same dtype and channels, and `scale` times the sides.

        `image` is `[H, W, C]`: uint8, uint16, or float32 in [0, 1]; C is 1 (grey), 3 (RGB), or one more with
        straight alpha, which is restored apart, with the same noise. `seed` draws the noise of stochastic schedules;
        `noise` replaces it by arrays (`start` `[3, H', W']`, `step` `[rows, 3, H', W']`, N(0, 1), of the prepared
        image's size). `tile` (a side, or "auto") and `overlap` are pixels of the prepared image; `blend` is "final" or
        "each"; `memory` is the budget in bytes. `color_fix` is "none", "wavelet" or "adain"; None is the bundle's own.
        `progress(done, total)` counts network calls.

        `mask` `[H, W]` or `[H, W, 1]` is for bundles that fill holes, which need it: what is above zero is the hole,
        the rest of the image is kept. `prior` is for bundles whose restoration is guided by a vector: "image" (one for
        all tiles; the default) or "tile" (each tile its own); their noise is `prior` `[Z]`. They take no schedule.
        `strength` is for bundles that take it; this release reads none.

        Latent models: `prompt` is for bundles with a graph for text, which read it as it is; with `tagger`, the image's
        own tags come first, in the form that the model knows. Their noise is `posterior` `[C, h, w]` of the latent
        canvas (where it is not given, the mean is taken). `rules` "original" treats sizes and levels as the model's own
        program does, so the result may have another size. `scratch` is the folder for what memory does not hold; None
        takes the system's.

        Raises `ImageError`, `OptionError`, `LimitError`, `EngineError`, `CancelledError`.
        """
        restoration = self._planner.restoration(
            image,
            mask=mask,
            prompt=prompt,
            tagger=tagger,
            schedule=schedule,
            strength=strength,
            seed=seed,
            noise=noise,
            tile=tile,
            overlap=overlap,
            blend=blend,
            memory=memory,
            prior=prior,
            color_fix=color_fix,
            rules=rules,
            scratch=scratch,
        )
        if isinstance(self._sessions, SessionPool) and isinstance(restoration.choice, LatentChoice):
            self._sessions.alone = restoration.choice.alone
        drive([restoration], self._sessions, progress=progress, cancel=cancel)
        return restoration.result()
