"""One image on its way to the result: its planes, colour and alpha, each on its own, as one source of works."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.alpha import bleed, constant_value, join_alpha, split_alpha
from lqhq.runtime.autotile import Choice
from lqhq.runtime.colour import ColourFix, fix_colour
from lqhq.runtime.image_form import ImageForm
from lqhq.runtime.job import Job, Work
from lqhq.runtime.latent_job import Told
from lqhq.runtime.latent_plan import LatentChoice
from lqhq.runtime.plane_job import PlaneRun, Tiles, plane_job
from lqhq.runtime.prepare import PreparedImage
from lqhq.runtime.session import Fetch
from lqhq.runtime.view import View

__all__ = ["Restoration", "result_form"]

Image = NDArray[Any]


def result_form(form: ImageForm, view: View) -> ImageForm:
    """The form of the result of an image of `form`, seen as `view`."""
    size = view.size if view.original is not None or view.size == view.given else view.given
    return ImageForm(*size.scaled(view.manifest.scale), form.channels, form.dtype)


class Restoration:
    """A source of works as a `Job` is one. Not thread-safe: one owner at a time, who may pass it on.

    Planes come one after the other: two at once would take twice the memory. What is fed may be asked for again until
    the work is done.
    """

    def __init__(self, image: Image, run: PlaneRun, *, fix: ColourFix | None, tiles: Tiles | None = None) -> None:
        """`image` `[H, W, C]` is what `check_image` takes, of the size that `run.view` was made for.

        `tiles(box, pixels)` is called by `done` with boxes of the result whose values are final, `[h, w, C]`, which
        cover it once, where that can be told before the end: not with alpha, a colour fix or another size, nor where
        tiles are blended before the last stage. Raises `OptionError` for a seed or noise that cannot be.
        """
        self._run, self._fix = run, fix
        self._form = result_form(ImageForm.of(image), run.view)
        colour, self._alpha = split_alpha(run.view.prepared(image))
        alpha = self._alpha
        self._flat = None if alpha is None else constant_value(alpha)
        # What the network sees: hidden colours are replaced, from what is neither hidden nor inside the hole.
        hidden = (
            alpha if alpha is None or run.hole is None else np.where(run.hole[:, :, None], alpha.dtype.type(0), alpha)
        )
        planes = [(colour if hidden is None else bleed(colour, hidden), colour)]
        planes += [(alpha, alpha)] if alpha is not None and self._flat is None else []
        manifest = run.view.manifest
        self._planes = [(PreparedImage(plane, manifest, run.hole), given) for plane, given in planes]
        final = run.blend == "final" and alpha is None and fix is None and run.view.size == run.view.given
        self._tiles = tiles if final else None
        self._told, self._results = Told(), list[Image]()
        self._job: Job | None = self._next_job()
        plain = self._job.total - self._told.calls  # calls that make the words are the first plane's alone
        self.total = self._told.calls + len(planes) * plain  # works from start to end
        self.done_works = 0

    @property
    def choice(self) -> Choice | LatentChoice:
        """The tiles, and why."""
        return self._run.choice

    @property
    def result_form(self) -> ImageForm:
        """The form of `result()`."""
        return self._form

    @property
    def finished(self) -> bool:
        return self._job is None

    def ready(self, limit: int) -> list[Work]:
        """Up to `limit` works that can run now; each is given out once. Empty while all depends on what is out."""
        return [] if self._job is None else self._job.ready(limit)

    def done(self, work: Work, fetch: Fetch) -> None:
        """Take what the graph gave for `work`, `[1, ...]` each. Raises `EngineError` for what cannot be."""
        job = self._job
        assert job is not None  # a work that was given out keeps its plane going
        job.done(work, fetch)
        self.done_works += 1
        if job.finished:
            self._results.append(job.result())
            self._job = self._next_job() if len(self._results) < len(self._planes) else None

    def result(self) -> Image:
        """The restored image, of `result_form`. Raises `ValueError` before `finished`."""
        if not self.finished:
            raise ValueError(f"{self.done_works} of {self.total} works are done")
        results = list(self._results)
        if self._fix:
            source, mode = self._planes[0][0], self._run.view.manifest.quantize.mode
            results[0] = fix_colour(self._fix, results[0], source.pixels, mode=mode)
        if self._alpha is None:
            return self._run.view.finished(results[0])
        if self._flat is not None:
            results.append(np.full((*results[0].shape[:2], 1), self._flat, self._alpha.dtype))
        return self._run.view.finished(join_alpha(*results))

    def _next_job(self) -> Job:
        source, given = self._planes[len(self._results)]
        return plane_job(source, given, self._run, self._told, self._tiles)
