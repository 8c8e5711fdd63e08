"""Chooses how an image goes through a latent model within a memory budget, or says what would fit.

Each stage has several forms that give the same values: `encode` and `decode` run whole, or in segments with their
canvases in memory or in a scratch file. Only the tiles of `denoise` change the result, so they give way last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lqhq.runtime.autotile import FLOAT
from lqhq.runtime.engine_spec import Profile
from lqhq.runtime.errors import LimitError, OptionError
from lqhq.runtime.geometry import Size
from lqhq.runtime.latent_spec import Latent
from lqhq.runtime.manifest import Manifest, Role
from lqhq.runtime.original import original_tile
from lqhq.runtime.precision import Precision
from lqhq.runtime.profiles import choose_profile, describe
from lqhq.runtime.segment_plan import Step, plan_bytes, plan_segments, strip_arrays
from lqhq.runtime.tiles import TilePlan, fit_tile, plan_tiles

__all__ = ["Form", "LatentChoice", "LatentRequest", "choose_latents"]

Form = Literal["whole", "segments", "scratch"]
FORMS: tuple[Form, ...] = ("whole", "segments", "scratch")
STAGES: tuple[Role, ...] = ("encode", "denoise", "decode")
MARGIN = 1.25  # of what strips are counted to take: engines hold a little more
# Bytes that a strip's run may take: a fifth of the budget, within these. Halos are run twice, so higher strips are
# faster, up to a point: benchmarks/vae_segments.py measures it.
STRIP_SHARE, LEAST_STRIP, MOST_STRIP = 5, 32 << 20, 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentChoice:
    """The tiles of `denoise` in latents, the form of the other stages, and the memory that all is expected to peak at.

    `steps` are the strips of roles that do not run whole. `alone` says that engines are held one at a time. Of
    `peak_bytes`, `engine_bytes` need not be had again for another image on the same engines. The peak holds the arrays
    of the tiles or strips that one driver has on their way; each further one takes at most `tile_bytes` more.
    """

    plan: TilePlan
    factor: int
    encode: Form
    decode: Form
    steps: Mapping[str, tuple[Step, ...]]
    alone: bool
    peak_bytes: int
    engine_bytes: int
    tile_bytes: int
    scratch_bytes: int
    reason: str

    def describe(self) -> str:
        """One line for the log, in network pixels."""
        tile, parts = self.plan.tile.scaled(self.factor), []
        parts.append(f"tile {tile.width}x{tile.height}, {len(self.plan)} tile(s)")
        if len(self.plan) > 1:
            parts.append(f"overlap {self.plan.overlap * self.factor}, {self.plan.overhead:.2f}x the pixels")
        forms = {"whole": "whole", "segments": "in strips", "scratch": "in strips, canvases on disk"}
        parts.append(f"encode {forms[self.encode]}, decode {forms[self.decode]}")
        parts.append("one engine at a time" if self.alone else "")
        scratch = f" and {self.scratch_bytes / 1e6:.0f} MB of disk" if self.scratch_bytes else ""
        parts.append(f"about {self.peak_bytes / 1e6:.0f} MB{scratch} ({self.reason})")
        return ", ".join(filter(None, parts))


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentRequest:
    """What a choice depends on. `canvas` is the padded image; `tile` and `overlap` are in its pixels.

    `original` takes the model's own tiles. `segmented` are the roles that may be run so here. `limits` are the shapes,
    by role, of engines that were built for some.
    """

    manifest: Manifest
    canvas: Size
    tile: int | str
    overlap: int | None
    original: bool
    depth: int
    held_bytes: int
    budget_bytes: int
    precision: Precision
    segmented: frozenset[str] = frozenset()
    profiles: Mapping[str, Sequence[Profile]] = field(default_factory=dict)

    @property
    def latent(self) -> Latent:
        assert self.manifest.latent is not None  # whoever asks has looked
        return self.manifest.latent

    @property
    def size(self) -> Size:
        """The latent canvas."""
        return Size(*(side // self.latent.factor for side in self.canvas))


def choose_latents(request: LatentRequest) -> LatentChoice:
    """The fastest way within the budget. Raises `LimitError` where none is, `OptionError` for tiles that cannot be."""
    least: LatentChoice | None = None
    for plan, reason in _plans(request):
        for choice in _choices(request, plan, reason):
            if choice.peak_bytes <= request.budget_bytes:
                return choice
            least = choice if least is None or choice.peak_bytes < least.peak_bytes else least
    assert least is not None  # there is always a plan
    raise LimitError(
        "memory",
        found=f"a budget of {request.budget_bytes / 1e6:.0f} MB",
        expected=f"at least {least.peak_bytes / 1e6:.0f} MB: {least.describe()}",
        mend=f"Give --memory {-(-least.peak_bytes // 1_000_000)}M or more, or restore a smaller image.",
    )


def _plans(request: LatentRequest) -> Iterator[tuple[TilePlan, str]]:
    """Tile plans of the latent canvas, the best first; a tile that was asked for is the only one."""
    asked = _asked(request)
    hints, factor, size = request.manifest.tiles, request.latent.factor, request.size
    side = (hints.preferred if asked is None else asked) // factor
    overlap = _overlap(request, side)
    if request.original:
        square = original_tile(size, side, overlap)
        plan = plan_tiles(size, square or size, overlap=overlap if square else 0, multiple=1, dense=True)
        yield plan, "the original's rule"
        return
    profiles = request.profiles.get("denoise", ())
    if size.pixels <= side * side and (not profiles or choose_profile(profiles, 1, *size) is not None):
        yield plan_tiles(size, size, overlap=0, multiple=1), "the whole image: no more than a tile's area"
    if 2 * overlap > side:
        raise OptionError(
            "overlap",
            found=f"{overlap * factor} with tile {side * factor}",
            expected=f"at most half of the tile, {side // 2 * factor}",
            mend="Give a larger tile or a smaller overlap.",
        )
    sides = [side]
    while asked is None and sides[-1] > max(1, 2 * overlap, hints.smallest // factor):
        sides.append(max(2 * overlap, hints.smallest // factor, sides[-1] * 3 // 4))
    for one in sides:
        tile = _fitted(request, one, overlap)
        why = "as asked" if asked else "the tile that the bundle prefers" if one == side else "all that memory allows"
        yield plan_tiles(size, tile, overlap=overlap, multiple=1), why


def _asked(request: LatentRequest) -> int | None:
    """The side of the tile that was asked for, in pixels, or None. Raises `OptionError` for what no tile can be."""
    factor, smallest = request.latent.factor, request.manifest.tiles.smallest
    if request.tile != "auto" and not isinstance(request.tile, int):
        raise OptionError(
            "tile", found=repr(request.tile), expected="a number of pixels, or 'auto'", mend="Use tile auto."
        )
    asked = request.tile if isinstance(request.tile, int) else None
    if not isinstance(request.overlap, int | None):
        raise OptionError(
            "overlap", found=repr(request.overlap), expected="a number of pixels", mend="Leave it out for the bundle's."
        )
    for name, value, least in (("tile", asked, factor), ("overlap", request.overlap, 0)):
        if value is not None and (value % factor or value < 0):
            raise OptionError(
                name,
                found=str(value),
                expected=f"a multiple of {factor} pixels, one latent",
                mend=f"Use {max(least, round(value / factor) * factor)}.",
            )
    if asked is not None and asked < smallest:
        raise OptionError(
            "tile", found=str(asked), expected=f"at least {smallest}", mend=f"Use a tile of {smallest} or more."
        )
    return asked


def _overlap(request: LatentRequest, side: int) -> int:
    """In latents: what was asked for; else the bundle's. We cut it to half of a smaller tile, the original does not."""
    if request.overlap is not None:
        return request.overlap // request.latent.factor
    own = request.manifest.tiles.overlap // request.latent.factor
    return own if request.original else min(own, side // 2)


def _fitted(request: LatentRequest, side: int, overlap: int) -> Size:
    """No larger than needed to cover the canvas with as few tiles, unless an engine was built for `side` alone."""
    even = Size(*(fit_tile(length, side, overlap=overlap, multiple=1) for length in request.size))
    profiles = request.profiles.get("denoise", ())
    if profiles and choose_profile(profiles, 1, *even) is None:
        return Size(*(min(side, length) for length in request.size))
    return even


def _choices(request: LatentRequest, plan: TilePlan, reason: str) -> Iterator[LatentChoice]:
    """All engines at once; then one at a time, each stage in the first form that fits, or the smallest."""
    _require_fit(request, "denoise", plan.tile)
    whole = [role for role in ("encode", "decode") if _may_be_whole(request, role)]
    if len(whole) == 2:
        yield _choice(request, plan, {"encode": "whole", "decode": "whole"}, False, reason)
    forms: dict[str, Form] = {}
    for role in ("encode", "decode"):
        able = {"whole": role in whole, "segments": role in request.segmented, "scratch": role in request.segmented}
        possible: list[Form] = [form for form in FORMS if able[form]]
        if not possible:
            _require_fit(request, role, request.size)  # which says what is missing
        fitting = [form for form in possible if _stage(request, role, form).peak <= _rest(request)]
        forms[role] = fitting[0] if fitting else possible[-1]
    yield _choice(request, plan, forms, True, reason)


def _choice(
    request: LatentRequest, plan: TilePlan, forms: Mapping[str, Form], alone: bool, reason: str
) -> LatentChoice:
    stages = {
        "encode": _stage(request, "encode", forms["encode"]),
        "denoise": _Stage(peak=_engine(request, "denoise", plan.tile.pixels)),
        "decode": _stage(request, "decode", forms["decode"]),
    }
    others = {role: _engine(request, role, 1) for role in request.manifest.graphs if role not in STAGES}
    peaks = [*(one.peak for one in stages.values()), *others.values()]
    base = _base(request)
    # Every measured engine has a process around it, which is there once.
    engines = max(peaks) if alone else sum(peaks) - (len(peaks) - 1) * base
    own = [one.own for one in stages.values()]
    steps = {role: one.steps for role, one in stages.items() if one.steps}
    return LatentChoice(
        plan=plan,
        factor=request.latent.factor,
        encode=forms["encode"],
        decode=forms["decode"],
        steps=steps,
        alone=alone,
        peak_bytes=engines + _held(request),
        engine_bytes=engines - (max(own) if alone else sum(own)),
        tile_bytes=max(_tile_bytes(request, plan), *(strip_arrays(step) for one in steps.values() for step in one), 0),
        scratch_bytes=max(one.scratch for one in stages.values()),
        reason=reason,
    )


def _held(request: LatentRequest) -> int:
    """The image and the result; the state, its history and the blended prediction; the tile's own arrays."""
    state = FLOAT * request.latent.channels * request.size.pixels
    return request.held_bytes + state * (4 + 2 * request.depth)


def _tile_bytes(request: LatentRequest, plan: TilePlan) -> int:
    """A tile of `denoise`: the state that it is fed, what is predicted, its variance, and a copy in between."""
    return 4 * FLOAT * request.latent.channels * plan.tile.pixels


def _rest(request: LatentRequest) -> int:
    return request.budget_bytes - _held(request)


def _engine(request: LatentRequest, role: Role, pixels: int) -> int:
    return int(request.manifest.graphs[role][request.precision].memory.peak(pixels))


def _base(request: LatentRequest) -> int:
    """What a process takes around its engine: the least of all measured ones has little else."""
    return min(variants[request.precision].memory.fixed for variants in request.manifest.graphs.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stage:
    """What a stage takes: memory, disk; and its strips, where it does not run whole.

    `own` is the part of `peak` that is the image's, not the engine's.
    """

    peak: int
    own: int = 0
    scratch: int = 0
    steps: tuple[Step, ...] = ()


def _stage(request: LatentRequest, role: Role, form: Form) -> _Stage:
    """What `encode` or `decode` takes in one form; the whole graph's image is its caller's, too."""
    if form == "whole":
        pixels = request.size.pixels
        own = FLOAT * 3 * pixels * request.latent.factor**2
        return _Stage(peak=_engine(request, role, pixels) + own, own=own)
    follows = max(LEAST_STRIP, min(MOST_STRIP, request.budget_bytes // STRIP_SHARE))
    found = _strips(request, role, form, follows)
    # The least strips where these are too much: what fits a budget must fit every larger one.
    return found if found.peak <= _rest(request) else _strips(request, role, form, LEAST_STRIP)


def _strips(request: LatentRequest, role: Role, form: Form, strip_bytes: int) -> _Stage:
    size, factor, channels = request.size, request.latent.factor, request.latent.channels
    steps = plan_segments(
        request.manifest.segments[role],
        size if role == "decode" else size.scaled(factor),
        channels={"input": channels if role == "decode" else 3, "noise": channels},
        budget=strip_bytes,
    )
    taken, on_disk = plan_bytes(steps), form == "scratch"
    own = int(MARGIN * taken.memory(on_disk=on_disk))
    return _Stage(peak=own + _base(request), own=own, scratch=taken.canvases if on_disk else 0, steps=steps)


def _may_be_whole(request: LatentRequest, role: str) -> bool:
    profiles = request.profiles.get(role, ())
    return not profiles or choose_profile(profiles, 1, *request.size) is not None


def _require_fit(request: LatentRequest, role: str, size: Size) -> None:
    """Raise `OptionError` where an engine was not built for `size`, before anything runs."""
    profiles, unit = request.profiles.get(role, ()), request.latent.factor
    if profiles and choose_profile(profiles, 1, *size) is None:
        raise OptionError(
            f"tile of {role}",
            found=f"{size.height}x{size.width} latents",
            expected=f"one of {', '.join(describe(profile) for profile in profiles)}",
            mend=f"Build it with --profile {size.height * unit}x{size.width * unit} or a range, or use engine 'onnx'.",
        )
