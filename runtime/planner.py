"""What an image's restoration will be, told without a session: its options checked, its tiles chosen, its works."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.autotile import Choice, choose_tiles, default_budget
from lqhq.runtime.bundle import Bundle
from lqhq.runtime.engine_shapes import EngineShapes
from lqhq.runtime.engines.setup import quiet
from lqhq.runtime.errors import OptionError
from lqhq.runtime.geometry import Size
from lqhq.runtime.image_array import check_image
from lqhq.runtime.image_form import ImageForm
from lqhq.runtime.latent_plan import LatentChoice, LatentRequest, choose_latents
from lqhq.runtime.mask import hole_of, require_mask
from lqhq.runtime.plane_job import PlaneRun, Tiles
from lqhq.runtime.precision import Precision
from lqhq.runtime.prepare import canvas_size
from lqhq.runtime.restoration import Restoration, result_form
from lqhq.runtime.restore_options import blend_of, check_scratch, colour_of, foreign, prior_of, rules_of
from lqhq.runtime.schedule import Schedule
from lqhq.runtime.view import View, view_of
from lqhq.runtime.words import Asked, Words, check_words

__all__ = ["Planner"]

BLEED_BYTES = 60  # of each pixel with alpha, while hidden colours are filled: measured


class Planner:
    """An opened bundle and the shapes that its engines take. Several threads may ask at once."""

    def __init__(
        self,
        bundle: Bundle,
        shapes: Callable[[], EngineShapes],
        *,
        precision: Precision = "fp32",
        say: Callable[[str], None] = quiet,
    ) -> None:
        """`shapes()` is asked for each plan: what engines take may be known only once they are open."""
        self.bundle, self.precision = bundle, precision
        self._shapes = shapes
        self._words = Words(bundle, say)

    def schedule(self, name: str | Schedule | None) -> Schedule | None:
        """The schedule of that name, or the bundle's default. A `Schedule` is taken as it is.

        None where the bundle's graphs restore at once. Raises `OptionError` for an unknown name, or one whose noise is
        learned where the graph gives no variance.
        """
        manifest = self.bundle.manifest
        if "denoise" not in manifest.graphs:
            if name is not None:
                raise foreign(manifest, "schedule", name)
            return None
        if not isinstance(name, Schedule):
            name = manifest.default_schedule if name is None else name
            if name not in manifest.schedules:
                raise OptionError(
                    "schedule",
                    found=repr(name),
                    expected=f"one of {', '.join(sorted(manifest.schedules))}",
                    mend="`lqhq inspect` lists the schedules of a bundle.",
                )
            return manifest.schedules[name]
        if name.needs_variance and "var" not in manifest.graphs["denoise"]["fp32"].outputs:
            raise OptionError(
                "schedule",
                found="rows with log_sigma",
                expected="rows with sigma: this bundle's graph gives no variance",
                mend="Build the schedule with a fixed variance.",
            )
        return name

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
        manifest = self.bundle.manifest
        require_mask(manifest, given=masked)
        self.schedule(schedule)
        blend_of(manifest, blend)
        prior_of(manifest, prior)
        colour_of(manifest, color_fix)
        check_words(self.bundle, Asked(prompt=prompt, tagger=tagger))
        rules_of(manifest, rules)
        check_scratch(manifest, scratch)
        self._words.open(Asked(prompt=prompt, tagger=tagger))

    def result_form(self, form: ImageForm, *, rules: str | None = None) -> ImageForm:
        """The form of the result of an image of `form`. Raises `OptionError` for rules that the bundle has not."""
        return result_form(form, self._view(form, rules))

    def plan(
        self,
        form: ImageForm,
        *,
        schedule: str | Schedule | None = None,
        tile: int | str | None = None,
        overlap: int | None = None,
        blend: str | None = None,
        prior: str | None = None,
        memory: int | None = None,
        rules: str | None = None,
    ) -> Choice | LatentChoice:
        """The tiles for an image of `form`, and why; options are those of `restoration`, and errors too."""
        manifest, chosen = self.bundle.manifest, self.schedule(schedule)
        view = self._view(form, rules)
        held = _held_bytes(form, view)
        canvas = canvas_size(view.size, view.manifest)
        budget = default_budget() if memory is None else memory
        side = "auto" if tile is None else int(tile) if isinstance(tile, np.integer) else tile
        depth = chosen.depth if chosen else 0
        blended, shapes = blend_of(manifest, blend), self._shapes()
        if manifest.latent is not None:
            prior_of(manifest, prior)
            return choose_latents(
                LatentRequest(
                    manifest=view.manifest,
                    canvas=canvas,
                    tile=side,
                    overlap=overlap,
                    original=view.original is not None,
                    depth=depth,
                    held_bytes=held,
                    budget_bytes=budget,
                    precision=self.precision,
                    segmented=shapes.segmented,
                    profiles=shapes.profiles,
                )
            )
        return choose_tiles(
            view.manifest,
            canvas,
            tile=side,
            overlap=overlap,
            blend=blended,
            prior=prior_of(manifest, prior),
            depth=depth,
            held_bytes=held,
            budget_bytes=budget,
            precision=self.precision,
            limits=shapes.limits,
            profiles=shapes.profiles,
        )

    def restoration(
        self,
        image: NDArray[Any],
        *,
        mask: NDArray[Any] | None = None,
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
        tiles: Tiles | None = None,
        choice: Choice | LatentChoice | None = None,
    ) -> Restoration:
        """The restoration of `image`, ready to run; options are those of `Restorer.restore`, and errors too.

        `tiles` hears of finished boxes, see `Restoration`. `choice` is what `plan` gave for the same form and options,
        and stands for tile, overlap and memory; without it the plan is made here.
        """
        manifest = self.bundle.manifest
        if strength is not None:
            raise foreign(manifest, "strength", strength)
        asked = Asked(prompt=prompt, tagger=tagger)
        check_words(self.bundle, asked)
        check_scratch(manifest, scratch)
        fix = colour_of(manifest, color_fix)
        check_image(image)
        form = ImageForm.of(image)
        if choice is None:
            how: dict[str, Any] = {"schedule": schedule, "blend": blend, "prior": prior, "rules": rules}
            choice = self.plan(form, tile=tile, overlap=overlap, memory=memory, **how)
        view = self._view(form, rules)
        _require_same_canvas(choice, view)
        run = PlaneRun(
            view=view,
            schedule=self.schedule(schedule),
            choice=choice,
            blend=blend_of(manifest, blend),
            prior=prior_of(manifest, prior),
            words=self._words if manifest.prompt else None,
            asked=asked,
            scratch=scratch,
            seed=seed,
            noise=noise,
            hole=hole_of(mask, image, manifest),
        )
        return Restoration(image, run, fix=fix, tiles=tiles)

    def _view(self, form: ImageForm, rules: str | None) -> View:
        manifest = self.bundle.manifest
        return view_of(manifest, Size(form.height, form.width), rules_of(manifest, rules))


def _held_bytes(form: ImageForm, view: View) -> int:
    """Image and result; a colour fix makes the result anew; alpha is filled in floats before the network runs."""
    (height, width), channels, itemsize = view.size, form.channels, form.dtype.itemsize
    held = form.nbytes + view.held_bytes(channels, itemsize)
    held += 2 * height * width * view.manifest.scale**2 * channels * itemsize
    return held + (BLEED_BYTES * height * width if channels % 2 == 0 else 0)


def _require_same_canvas(choice: Choice | LatentChoice, view: View) -> None:
    """Raise `ValueError` for a choice that was made for another image."""
    unit = choice.factor if isinstance(choice, LatentChoice) else 1
    found, expected = choice.plan.canvas.scaled(unit), canvas_size(view.size, view.manifest)
    if found != expected:
        raise ValueError(f"choice: found a plan of {found}; expected one of {expected}")
