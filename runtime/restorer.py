"""The door for programs: open a bundle, restore images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.alpha import bleed, constant_value, join_alpha, split_alpha
from lqhq.runtime.autotile import Choice, choose_tiles, default_budget
from lqhq.runtime.bundle import Bundle, open_bundle
from lqhq.runtime.bundle_sessions import close_sessions, give_back_all, open_sessions
from lqhq.runtime.colour import ColourFix, fix_colour
from lqhq.runtime.driver import drive
from lqhq.runtime.engine_spec import Profile
from lqhq.runtime.engines.setup import Setup, quiet
from lqhq.runtime.errors import OptionError
from lqhq.runtime.geometry import Size
from lqhq.runtime.guided import guided
from lqhq.runtime.image_array import check_image
from lqhq.runtime.job import Job
from lqhq.runtime.latent_job import LatentRun, Told
from lqhq.runtime.latent_plan import LatentChoice, LatentRequest, choose_latents
from lqhq.runtime.mask import hole_of, require_mask
from lqhq.runtime.noise import NoiseField, row_shapes
from lqhq.runtime.precision import Precision
from lqhq.runtime.prepare import PreparedImage, canvas_size
from lqhq.runtime.restore_options import blend_of, check_scratch, colour_of, foreign, prior_of, rules_of
from lqhq.runtime.sampling import sampling
from lqhq.runtime.schedule import Schedule
from lqhq.runtime.session import Session
from lqhq.runtime.session_pool import SessionPool
from lqhq.runtime.sink import ImageSink
from lqhq.runtime.view import View, view_of
from lqhq.runtime.words import Asked, Words, check_words

__all__ = ["Restorer"]

CHANNELS = 3
BLEED_BYTES = 60  # of each pixel with alpha, while hidden colours are filled: measured

Progress = Callable[[int, int], None]
Image = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """How one request is run: what all its planes share."""

    view: View
    schedule: Schedule | None
    choice: Choice | LatentChoice
    blend: str
    prior: str
    words: Asked
    scratch: Path | None
    seed: int
    noise: Mapping[str, NDArray[np.float32]] | None
    hole: NDArray[np.bool_] | None


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
        self._words = Words(bundle, say)

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
        manifest, chosen = self.bundle.manifest, self.schedule(schedule)
        view = view_of(manifest, Size(*image.shape[:2]), rules_of(manifest, rules))
        height, width, channels = (*view.size, image.shape[2])
        # Image and result; a colour fix makes the result anew; alpha is filled in floats before the network runs.
        held = image.nbytes + view.held_bytes(channels, image.dtype.itemsize)
        held += 2 * height * width * view.manifest.scale**2 * channels * image.dtype.itemsize
        held += BLEED_BYTES * height * width if channels % 2 == 0 else 0
        canvas = canvas_size(view.size, view.manifest)
        budget = default_budget() if memory is None else memory
        side = "auto" if tile is None else int(tile) if isinstance(tile, np.integer) else tile
        depth = chosen.depth if chosen else 0
        blended = blend_of(manifest, blend)
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
                    segmented=frozenset(manifest.segments if isinstance(self._sessions, SessionPool) else ()),
                    profiles=self._limited(),
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
            limits={role: one.largest for role, one in self._sessions.items() if one.largest is not None},
            profiles=self._limited(),
        )

    def _limited(self) -> dict[str, tuple[Profile, ...]]:
        """The shapes of engines that were built for some. Sessions that were not open yet take any."""
        if isinstance(self._sessions, SessionPool):
            return self._sessions.profiles
        return {role: one.profiles for role, one in self._sessions.items() if one.largest is not None}

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
        manifest = self.bundle.manifest
        if strength is not None:
            raise foreign(manifest, "strength", strength)
        words = Asked(prompt=prompt, tagger=tagger)
        check_words(self.bundle, words)
        check_scratch(manifest, scratch)
        fix = colour_of(manifest, color_fix)
        choice = self.plan(
            image,
            schedule=schedule,
            tile=tile,
            overlap=overlap,
            blend=blend,
            prior=prior,
            memory=memory,
            rules=rules,
        )
        view = view_of(manifest, Size(*image.shape[:2]), rules_of(manifest, rules))
        run = _Run(
            view=view,
            schedule=self.schedule(schedule),
            choice=choice,
            blend=blend_of(manifest, blend),
            prior=prior_of(manifest, prior),
            words=words,
            scratch=scratch,
            seed=seed,
            noise=noise,
            hole=hole_of(mask, image, manifest),
        )
        if isinstance(self._sessions, SessionPool) and isinstance(choice, LatentChoice):
            self._sessions.alone = choice.alone
        return view.finished(self._planes(view.prepared(image), run, fix, progress, cancel))

    def _planes(
        self,
        image: Image,
        run: _Run,
        fix: ColourFix | None,
        progress: Progress | None,
        cancel: Callable[[], bool] | None,
    ) -> Image:
        """Colour and alpha, each on its own, of an image of the view's size."""
        colour, alpha = split_alpha(image)
        flat = None if alpha is None else constant_value(alpha)
        # What the network sees: hidden colours are replaced, from what is neither hidden nor inside the hole.
        hidden = (
            alpha if alpha is None or run.hole is None else np.where(run.hole[:, :, None], alpha.dtype.type(0), alpha)
        )
        planes = [(colour if hidden is None else bleed(colour, hidden), colour)]
        planes += [(alpha, alpha)] if alpha is not None and flat is None else []
        results, told = [], Told()
        for index, (plane, given) in enumerate(planes):  # one after the other: two at once would take twice the memory
            source = PreparedImage(plane, run.view.manifest, run.hole)
            job = self._job(source, given, run, told)
            drive([job], self._sessions, progress=_part(progress, index, len(planes), told), cancel=cancel)
            result = job.result()
            if fix and index == 0:
                result = fix_colour(fix, result, source.pixels, mode=run.view.manifest.quantize.mode)
            results.append(result)
        if alpha is None:
            return results[0]
        if flat is not None:
            results.append(np.full((*results[0].shape[:2], 1), flat, alpha.dtype))
        return join_alpha(*results)

    def _job(self, source: PreparedImage, given: Image, run: _Run, told: Told) -> Job:
        """`given` is the plane as it came: of it the pixels are kept where the manifest composites."""
        manifest = run.view.manifest
        sink = ImageSink(
            source.size.scaled(manifest.growth),
            channels=given.shape[2],
            dtype=given.dtype,
            manifest=manifest,
            given=given if manifest.masked else None,
            hole=run.hole,
        )
        noise = NoiseField(seed=run.seed, shapes=self._streams(source, run.schedule), injected=run.noise)
        if isinstance(run.choice, LatentChoice):
            return Job(self._latents(run, run.choice).stages(source, noise, sink, told), sink)
        plan, schedule, reduction = run.choice.plan, run.schedule, run.choice.reduction
        if schedule is not None:
            return Job(
                sampling(source, schedule=schedule, plan=plan, blend=run.blend, noise=noise, sink=sink),
                sink,
            )
        assert reduction is not None  # a manifest without schedules has it
        stages = guided(
            source,
            prior=run.prior,
            plan=plan,
            reduction=reduction,
            multiple=manifest.tiles.multiple,
            growth=manifest.growth,
            noise=noise,
            sink=sink,
        )
        return Job(stages, sink)

    def _latents(self, run: _Run, choice: LatentChoice) -> LatentRun:
        assert run.schedule is not None  # a latent model has a graph for denoise, and so schedules
        return LatentRun(
            manifest=run.view.manifest,
            schedule=run.schedule,
            choice=choice,
            window=run.view.window,
            words=self._words if self.bundle.manifest.prompt else None,
            asked=run.words,
            scratch=run.scratch,
            freed=give_back_all,
        )

    def _streams(self, source: PreparedImage, schedule: Schedule | None) -> dict[str, tuple[int, ...]]:
        """The noise that one plane draws."""
        latent = self.bundle.manifest.latent
        if latent is not None and schedule is not None:
            size = Size(*(side // latent.factor for side in source.canvas))
            drawn = row_shapes(latent.channels, size, len(schedule.rows))
            needed = {"start": schedule.start.c_noise != 0, "step": any(row.noisy for row in schedule.rows)}
            return {name: drawn[name] for name in drawn if needed[name]} | {"posterior": (latent.channels, *size)}
        if schedule is not None:
            return row_shapes(CHANNELS, source.size, len(schedule.rows))
        width = self.bundle.manifest.graphs["encode"]["fp32"].inputs["noise"].shape[1]
        assert isinstance(width, int)  # the role's contract was checked when the bundle was opened
        return {"prior": (width,)}


def _part(progress: Progress | None, index: int, count: int, told: Told) -> Progress | None:
    """Progress of plane `index` of `count` as progress of the whole: planes differ by the calls that make the words."""
    if progress is None or count == 1:
        return progress

    def part(done: int, total: int) -> None:
        plain = total if index else total - told.calls
        progress((told.calls if index else 0) + index * plain + done, told.calls + count * plain)

    return part
