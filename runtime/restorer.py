"""The door for programs: open a bundle, restore images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, get_args

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.alpha import bleed, constant_value, join_alpha, split_alpha
from lqhq.runtime.autotile import Choice, choose_tiles, default_budget
from lqhq.runtime.bundle import Bundle, open_bundle
from lqhq.runtime.colour import ColourFix, fix_colour
from lqhq.runtime.driver import drive
from lqhq.runtime.engine_spec import Flavour, Profile, Range
from lqhq.runtime.engines import open_session
from lqhq.runtime.engines.setup import Setup, quiet
from lqhq.runtime.errors import OptionError
from lqhq.runtime.geometry import Size
from lqhq.runtime.guided import guided
from lqhq.runtime.image_array import check_image
from lqhq.runtime.job import Job
from lqhq.runtime.manifest import Manifest, Role
from lqhq.runtime.mask import hole_of, require_mask
from lqhq.runtime.noise import NoiseField, row_shapes
from lqhq.runtime.precision import Precision
from lqhq.runtime.prepare import PreparedImage, canvas_size
from lqhq.runtime.profiles import default_profiles, takes_image
from lqhq.runtime.sampling import sampling
from lqhq.runtime.schedule import Schedule
from lqhq.runtime.session import Session
from lqhq.runtime.sink import ImageSink

__all__ = ["Restorer", "engine_profiles"]

CHANNELS = 3
BLEED_BYTES = 60  # of each pixel with alpha, while hidden colours are filled: measured

Progress = Callable[[int, int], None]
Image = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """How one request is run: what all its planes share."""

    schedule: Schedule | None
    choice: Choice
    blend: str
    prior: str
    seed: int
    noise: Mapping[str, NDArray[np.float32]] | None
    hole: NDArray[np.bool_] | None


class Restorer:
    """An opened bundle on one device. Close it, or use it in a `with` statement. One thread at a time."""

    def __init__(self, bundle: Bundle, sessions: Mapping[str, Session], *, precision: Precision = "fp32") -> None:
        self.bundle, self.precision = bundle, precision
        self._sessions = sessions  # by role

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
        with ExitStack() as opening:
            sessions: dict[str, Session] = {}
            for role in opened.manifest.graphs:
                setup = Setup(
                    device=device,
                    threads=threads,
                    profiles=engine_profiles(opened.manifest, role, engine, profiles),
                    cache=cache,
                    keep=_shared(opened.manifest, role),
                    say=say,
                )
                graph = opened.graph(role, precision)
                sessions[role] = opening.enter_context(open_session(engine, graph, setup))
            opening.pop_all()
        return cls(opened, sessions, precision=graph.precision)

    def close(self) -> None:
        for session in self._sessions.values():
            session.close()

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
                raise _foreign(manifest, "schedule", name)
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
        self, *, masked: bool, schedule: str | None, blend: str | None, prior: str | None, color_fix: str = "none"
    ) -> None:
        """Raise `OptionError` for what `restore` would refuse on any image; `masked` says that there are masks."""
        require_mask(self.bundle.manifest, given=masked)
        self.schedule(schedule)
        self._blend(blend)
        self._prior(prior)
        self._colour_fix(color_fix)

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
    ) -> Choice:
        """The tiles that `restore` would use for `image`, and why. Raises as `restore` does."""
        check_image(image)
        manifest, chosen = self.bundle.manifest, self.schedule(schedule)
        height, width, channels = image.shape
        # Image and result; a colour fix makes the result anew; alpha is filled in floats before the network runs.
        held = image.nbytes + 2 * height * width * manifest.scale**2 * channels * image.dtype.itemsize
        held += BLEED_BYTES * height * width if channels % 2 == 0 else 0
        return choose_tiles(
            manifest,
            canvas_size(Size(height, width), manifest),
            tile="auto" if tile is None else int(tile) if isinstance(tile, np.integer) else tile,
            overlap=overlap,
            blend=self._blend(blend),
            prior=self._prior(prior),
            depth=chosen.depth if chosen else 0,
            held_bytes=held,
            budget_bytes=default_budget() if memory is None else memory,
            precision=self.precision,
            limits={role: one.largest for role, one in self._sessions.items() if one.largest is not None},
            profiles={role: one.profiles for role, one in self._sessions.items() if one.largest is not None},
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
        prior: str | None = None,
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
        counts network calls.

        `mask` `[H, W]` or `[H, W, 1]` is for bundles that fill holes, which need it: what is above zero is the hole,
        the rest of the image is kept. `prior` is for bundles whose restoration is guided by a vector: "image" (one for
        all tiles; the default) or "tile" (each tile its own); their noise is `prior` `[Z]`. They take no schedule.
        `prompt` and `strength` are for bundles that take them; this release reads none.

        Raises `ImageError`, `OptionError`, `LimitError`, `EngineError`, `CancelledError`.
        """
        self._refuse_foreign(prompt=prompt, strength=strength)
        fix = self._colour_fix(color_fix)
        run = _Run(
            schedule=self.schedule(schedule),
            choice=self.plan(
                image, schedule=schedule, tile=tile, overlap=overlap, blend=blend, prior=prior, memory=memory
            ),
            blend=self._blend(blend),
            prior=self._prior(prior),
            seed=seed,
            noise=noise,
            hole=hole_of(mask, image, self.bundle.manifest),
        )
        colour, alpha = split_alpha(image)
        flat = None if alpha is None else constant_value(alpha)
        # What the network sees: hidden colours are replaced, from what is neither hidden nor inside the hole.
        hidden = (
            alpha if alpha is None or run.hole is None else np.where(run.hole[:, :, None], alpha.dtype.type(0), alpha)
        )
        planes = [(colour if hidden is None else bleed(colour, hidden), colour)]
        planes += [(alpha, alpha)] if alpha is not None and flat is None else []
        results = []
        for index, (plane, given) in enumerate(planes):  # one after the other: two at once would take twice the memory
            source = PreparedImage(plane, self.bundle.manifest, run.hole)
            job = self._job(source, given, run)
            drive([job], self._sessions, progress=_part(progress, index, len(planes)), cancel=cancel)
            result = job.result()
            results.append(fix_colour(fix, result, source.pixels) if fix and index == 0 else result)
        if alpha is None:
            return results[0]
        if flat is not None:
            results.append(np.full((*results[0].shape[:2], 1), flat, alpha.dtype))
        return join_alpha(*results)

    def _job(self, source: PreparedImage, given: Image, run: _Run) -> Job:
        """`given` is the plane as it came: of it the pixels are kept where the manifest composites."""
        manifest = self.bundle.manifest
        sink = ImageSink(
            source.size.scaled(manifest.growth),
            channels=given.shape[2],
            dtype=given.dtype,
            manifest=manifest,
            given=given if manifest.masked else None,
            hole=run.hole,
        )
        shapes = self._streams(source.size, run.schedule)
        noise = NoiseField(seed=run.seed, shapes=shapes, injected=run.noise)
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

    def _streams(self, size: Size, schedule: Schedule | None) -> dict[str, tuple[int, ...]]:
        """The noise that one plane of `size` draws."""
        if schedule is not None:
            return row_shapes(CHANNELS, size, len(schedule.rows))
        width = self.bundle.manifest.graphs["encode"]["fp32"].inputs["noise"].shape[1]
        assert isinstance(width, int)  # the role's contract was checked when the bundle was opened
        return {"prior": (width,)}

    def _prior(self, prior: str | None) -> str:
        manifest = self.bundle.manifest
        if prior is not None and "encode" not in manifest.graphs:
            raise _foreign(manifest, "prior", prior)
        if prior not in (None, "image", "tile"):
            raise OptionError(
                "prior", found=repr(prior), expected="'image' or 'tile'", mend="Leave it out: one for the image."
            )
        return prior or "image"

    def _refuse_foreign(self, **given: object) -> None:
        """Options of the design that no bundle of this release takes."""
        for name, value in given.items():
            if value is not None:
                raise _foreign(self.bundle.manifest, name, value)

    def _colour_fix(self, kind: str) -> ColourFix | None:
        """None for "none". Told before the work, not after it."""
        if kind == "none":
            return None
        if self.bundle.manifest.masked:  # it would change what is kept, and measure what is to be replaced
            raise _foreign(self.bundle.manifest, "color_fix", kind)
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

    def _blend(self, blend: str | None) -> str:
        blend = self.bundle.manifest.tiles.blend if blend is None else blend
        if blend not in ("each", "final"):
            raise OptionError(
                "blend", found=repr(blend), expected="'each' or 'final'", mend="Leave it out for the bundle's own."
            )
        if blend == "each" and "denoise" not in self.bundle.manifest.graphs:
            raise OptionError(
                "blend",
                found="'each'",
                expected="'final': this bundle restores in one step",
                mend="Leave it out; there is nothing to blend in between.",
            )
        return blend


def _foreign(manifest: Manifest, name: str, value: object) -> OptionError:
    return OptionError(
        name,
        found=repr(value),
        expected=f"none: {manifest.name!r} takes no {name}",
        mend="Leave it out, or use a bundle that takes it (`lqhq inspect` says).",
    )


def engine_profiles(manifest: Manifest, role: Role, engine: str, asked: Sequence[Profile] = ()) -> tuple[Profile, ...]:
    """Those asked for, or the bundle's own for an engine that is built for shapes; else none."""
    if engine not in get_args(Flavour):
        return ()
    if not asked:
        return default_profiles(manifest, role)
    if takes_image(manifest.graphs[role]["fp32"].inputs):
        return tuple(asked)
    one = Range(1, 1, 1)  # a graph of vectors has no sides: of the profiles the batches are left
    return tuple(dict.fromkeys(Profile(batch=profile.batch, height=one, width=one) for profile in asked))


def _shared(manifest: Manifest, role: Role) -> frozenset[str]:
    """Outputs that all tiles of an image take as an input: they stay where the engine computes."""
    graphs = [graph for variants in manifest.graphs.values() for graph in variants.values()]
    shared = {name for graph in graphs for name, tensor in graph.inputs.items() if tensor.per == "image"}
    return frozenset(shared.intersection(*(graph.outputs for graph in manifest.graphs[role].values())))


def _part(progress: Progress | None, index: int, count: int) -> Progress | None:
    """Progress of plane `index` of `count` as progress of the whole: every plane has the same plan."""
    if progress is None or count == 1:
        return progress
    return lambda done, total: progress(index * total + done, count * total)
