"""Chooses the tile from the manifest's hints and a memory budget, or says what would fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lqhq.runtime.engine_spec import Profile
from lqhq.runtime.errors import LimitError, OptionError
from lqhq.runtime.geometry import Size, round_up
from lqhq.runtime.machine import available_memory
from lqhq.runtime.manifest import Manifest
from lqhq.runtime.precision import Precision
from lqhq.runtime.profiles import choose_profile, describe
from lqhq.runtime.tiles import TilePlan, fit_tile, plan_tiles

__all__ = ["Choice", "choose_tiles", "default_budget"]

FLOAT = 4
MEMORY_SHARE = 0.8  # of what is available; the rest is for what the estimate does not see


def default_budget() -> int:
    """Bytes that a run may take when nobody says: most of what is free now."""
    return int(available_memory() * MEMORY_SHARE)


@dataclass(frozen=True, slots=True)
class Choice:
    """A tile plan, the memory that it is expected to peak at, and why it was taken.

    Of `peak_bytes`, `engine_bytes` are the engines': images that are restored on the same ones share them. The peak
    holds the arrays of one tile; each further tile that is on its way at once takes `tile_bytes` more.
    `reduction` is the plan of the role `reduce`, where the bundle has one.
    """

    plan: TilePlan
    peak_bytes: int
    reason: str
    reduction: TilePlan | None = None
    engine_bytes: int = field(kw_only=True)
    tile_bytes: int = field(kw_only=True)

    def describe(self) -> str:
        """One line for the log: tile, count, overlap, overhead, memory, reason."""
        tile = self.plan.tile
        return (
            f"tile {tile.width}x{tile.height}, {len(self.plan)} tile(s), overlap {self.plan.overlap}, "
            f"{self.plan.overhead:.2f}x the pixels, about {self.peak_bytes / 1e6:.0f} MB ({self.reason})"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What a choice depends on besides the side of the tile."""

    manifest: Manifest
    canvas: Size
    held: int  # bytes that are there whatever the tile: the image and the result
    whole_state: bool  # `blend=each` keeps the state and the history of the whole canvas
    depth: int
    own_prior: bool  # each tile is reduced as it is
    precision: Precision
    limits: Mapping[str, int]  # the largest side that the engine of a role takes, for those that have one
    profiles: Mapping[str, Sequence[Profile]]  # the shapes that such an engine was built for

    def plan(self, side: int, overlap: int, *, role: str = "") -> TilePlan:
        """Tiles of at most `side`, made smaller where the same number of them covers the canvas.

        Not smaller where the engines that run the tiles (that of `role` alone, where it is given) take no such shape.
        """
        multiple = self.manifest.tiles.multiple
        tile = Size(*(fit_tile(length, side, overlap=overlap, multiple=multiple) for length in self.canvas))
        if self.misfit(tile, role):
            tile = Size(*(min(side, length) for length in self.canvas))
        return plan_tiles(self.canvas, tile, overlap=overlap, multiple=multiple)

    def misfit(self, tile: Size, role: str = "") -> str:
        """A role whose engine takes no such tile, "" where all do."""
        roles = [role] if role else [name for name in self.profiles if self.own_prior or name != "reduce"]
        for name in roles:
            profiles = self.profiles.get(name, ())
            if profiles and choose_profile(profiles, 1, *tile) is None:
                return name
        return ""

    def reduction(self, plan: TilePlan) -> TilePlan | None:
        """Tiles of `reduce`: those of `plan` itself, or for a prior of the image, of its reach and preferred side.

        These are no larger than those of `plan` unless their reach asks for it.
        """
        hints, multiple = self.manifest.reduction, self.manifest.tiles.multiple
        if hints is None or self.own_prior:
            return plan if hints else None
        overlap = 2 * round_up(hints.reach, multiple)
        side = round_up(max(min(hints.preferred, max(plan.tile)), 2 * overlap), multiple)
        limit = self.limits.get("reduce")
        if limit is not None and side > limit:
            side = limit // multiple * multiple
            if side < max(2 * overlap, multiple):
                raise _engine_too_small("reduce", limit, max(2 * overlap, multiple))
        plan = self.plan(side, overlap, role="reduce")
        _require_fit(self, plan, "reduce")
        return plan

    @property
    def ceiling(self) -> int | None:
        """The largest side of a tile that all engines take, at the network's multiple; None for any."""
        roles = self.limits if self.own_prior else self.limits.keys() - {"reduce"}
        least = min((self.limits[role] for role in roles), default=None)
        return None if least is None else least // self.manifest.tiles.multiple * self.manifest.tiles.multiple

    def choice(self, plan: TilePlan, reason: str) -> Choice:
        """Engines, image and result, one band of blended rows, the tile's own arrays."""
        reduction, growth = self.reduction(plan), self.manifest.growth
        memory = {role: variants[self.precision].memory for role, variants in self.manifest.graphs.items()}
        # Every session keeps the memory of its largest call.
        tiles = dict.fromkeys(memory, plan.tile.pixels) | ({"reduce": reduction.tile.pixels} if reduction else {})
        engines = sum(one.peak(tiles[role]) for role, one in memory.items())
        # Every `fixed` was measured with a process around it, which is there once; the least has little else.
        engines -= (len(memory) - 1) * min(one.fixed for one in memory.values())
        band = 3 * FLOAT * plan.tile.height * plan.canvas.width * growth**2
        arrays = self._tile_bytes(plan)
        whole = 3 * FLOAT * plan.canvas.pixels * (2 + 2 * self.depth) if self.whole_state else 0
        _require_fit(self, plan)
        return Choice(
            plan,
            int(engines + self.held + 2 * band + arrays + whole),
            reason,
            reduction,
            engine_bytes=int(engines),
            tile_bytes=max(arrays, self._tile_bytes(reduction) if reduction else 0),
        )

    def _tile_bytes(self, plan: TilePlan) -> int:
        """What is held of a tile on its way: fed, fetched, its state and the history of that."""
        return 3 * FLOAT * plan.tile.pixels * (6 + self.depth) * self.manifest.growth**2

    def peak(self, plan: TilePlan) -> int:
        return self.choice(plan, "").peak_bytes


def _sides(request: _Request, overlap: int, ceiling: int) -> list[int]:
    """Candidate sides from `ceiling` down to the smallest that the network and the overlap allow."""
    hints = request.manifest.tiles
    sides = [min(max(request.canvas), ceiling)]
    floor = min(sides[0], max(hints.smallest, 2 * overlap, hints.multiple))
    while sides[-1] > floor:
        sides.append(max(floor, sides[-1] * 3 // 4 // hints.multiple * hints.multiple))
    return sides


def _largest(request: _Request, overlap: int, budget: int, ceiling: int) -> int | None:
    sides = _sides(request, overlap, ceiling)
    return next((side for side in sides if request.peak(request.plan(side, overlap)) <= budget), None)


def choose_tiles(
    manifest: Manifest,
    canvas: Size,
    *,
    tile: int | str,
    overlap: int | None,
    blend: str,
    prior: str,
    depth: int,
    held_bytes: int,
    budget_bytes: int,
    precision: Precision = "fp32",
    limits: Mapping[str, int] | None = None,
    profiles: Mapping[str, Sequence[Profile]] | None = None,
) -> Choice:
    """A plan for `canvas` within `budget_bytes`. `tile` is a side in pixels of the prepared image, or "auto".

    "auto" takes the preferred tile, or, where a pixel depends on all of its tile (`reach` None), the whole image as
    long as memory allows it; where nothing fits, the overlap is halved, unless it was given. `prior` is "image", or
    "tile" where each tile is reduced as it is. The memory is that of the graphs of `precision`. `limits` are the
    largest sides that engines take, `profiles` the shapes, by role, where they were built for some: "auto" stays within
    them. Raises
    `LimitError` with the tile that would fit when the one asked for does not, and with the memory that is needed when
    none does; `OptionError` for a tile beyond the limits.
    """
    hints, asked = manifest.tiles, overlap is not None
    if overlap is None:
        # A tile smaller than the hint allows for keeps what overlap it can.
        half = tile // 2 // hints.multiple * hints.multiple if isinstance(tile, int) else hints.overlap
        overlap = min(hints.overlap, half)
    request = _Request(
        manifest=manifest,
        canvas=canvas,
        held=held_bytes,
        whole_state=blend == "each",
        depth=depth,
        own_prior=prior == "tile",
        precision=precision,
        limits=limits or {},
        profiles=profiles or {},
    )
    if isinstance(tile, int):
        return _as_asked(request, tile, overlap, budget_bytes)
    if tile != "auto":
        raise OptionError("tile", found=repr(tile), expected="a number of pixels, or 'auto'", mend="Use tile auto.")
    longest = max(canvas)
    # A canvas a little longer than the preferred tile is run whole: two tiles would cost more in overlap.
    whole = hints.reach is None or longest <= hints.preferred * 5 // 4
    ceiling = longest if whole else hints.preferred
    limited = request.ceiling is not None and request.ceiling < ceiling
    if request.ceiling is not None and limited:
        ceiling = request.ceiling
        overlap = _fitting_overlap(request, overlap, ceiling, asked=asked)
    side = _largest(request, overlap, budget_bytes, ceiling)
    while side is None and overlap and not asked:
        overlap = overlap // 2 // hints.multiple * hints.multiple
        side = _largest(request, overlap, budget_bytes, ceiling)
    if side is None:
        smallest = _sides(request, overlap, ceiling)[-1]
        needed = request.peak(request.plan(smallest, overlap))
        raise LimitError(
            "memory",
            found=f"a budget of {budget_bytes / 1e6:.0f} MB",
            expected=f"at least {needed / 1e6:.0f} MB: what the smallest tile ({smallest}) and the image take",
            mend=f"Give --memory {-(-needed // 1_000_000)}M or more, or restore a smaller image.",
        )
    plan = request.plan(side, overlap)
    preferred = "the largest that the engine takes" if limited else "the tile that the bundle prefers"
    reason = "all that the memory allows" if side < ceiling else preferred
    return request.choice(plan, "the whole image" if len(plan) == 1 else reason)


def _fitting_overlap(request: _Request, overlap: int, ceiling: int, *, asked: bool) -> int:
    """`overlap`, or what of it tiles of side `ceiling` can have, unless it was given."""
    hints = request.manifest.tiles
    least = max(hints.smallest, hints.multiple, 2 * overlap if asked else 0)
    if ceiling < least:
        raise _engine_too_small("tile", ceiling, least)
    return min(overlap, ceiling // 2 // hints.multiple * hints.multiple)


def _require_fit(request: _Request, plan: TilePlan, role: str = "") -> None:
    """Raise `OptionError` where an engine was not built for the tiles of `plan`, before anything runs."""
    misfit = request.misfit(plan.tile, role)
    if misfit:
        tile = f"{plan.tile.height}x{plan.tile.width}"
        raise OptionError(
            f"tile of {misfit}",
            found=f"{tile}, on a canvas of {plan.canvas.height} x {plan.canvas.width}",
            expected=f"one of {', '.join(describe(profile) for profile in request.profiles[misfit])}",
            mend=f"Build the engine for such sizes as well, with --profile {tile} or a range, or use engine 'onnx'.",
        )


def _engine_too_small(where: str, limit: int, least: int) -> OptionError:
    return OptionError(
        where,
        found=f"an engine for at most {limit} x {limit} pixels",
        expected=f"one that takes {least} x {least}",
        mend="Build it for larger tiles (`lqhq engines build --help`), or use engine 'onnx', which takes any size.",
    )


def _as_asked(request: _Request, side: int, overlap: int, budget: int) -> Choice:
    smallest = request.manifest.tiles.smallest
    if side < smallest:
        raise OptionError(
            "tile", found=str(side), expected=f"at least {smallest}", mend=f"Use a tile of {smallest} or more."
        )
    if request.ceiling is not None and min(side, max(request.canvas)) > request.ceiling:
        raise OptionError(
            "tile",
            found=str(side),
            expected=f"at most {request.ceiling}: the engine was built for no more",
            mend=f"Use a tile of {request.ceiling}, or build the engine for more (`lqhq engines build --help`).",
        )
    multiple = request.manifest.tiles.multiple

    def plan(side: int) -> TilePlan:
        return plan_tiles(request.canvas, Size(side, side), overlap=overlap, multiple=multiple)

    choice = request.choice(plan(side), "as asked")
    if choice.peak_bytes > budget:
        sides = _sides(request, overlap, min(max(request.canvas), request.ceiling or max(request.canvas)))
        fits = next((other for other in sides if request.peak(plan(other)) <= budget), None)
        raise LimitError(
            "tile",
            found=f"{side}, which takes about {choice.peak_bytes / 1e6:.0f} MB",
            expected=f"at most {budget / 1e6:.0f} MB",
            mend=f"Use a tile of {fits}." if fits else f"Give --memory {-(-choice.peak_bytes // 1_000_000)}M or more.",
        )
    return choice
