"""Finds a smallest set of modules that must stay in float32 for a half-precision bundle to reach a PSNR.

The search goes down the tree of modules: a module that must stay is replaced by those of its parts that must. What is
left is minimal: without any one of it, what is asked of the role is missed. Polygraphy's `debug precision` does this by
builder flags, which mean nothing to strongly typed networks; here the islands are in the module, so every engine has
them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack

import numpy as np
import torch
from torch import nn

from lqhq.export.family import Recipe, RoleGraph
from lqhq.export.half import DTYPES, halved
from lqhq.export.half_arithmetic import HalfArithmetic
from lqhq.export.half_settings import IslandPlan
from lqhq.export.judged_images import Exact, JudgedImages, judged_images, restored
from lqhq.export.torch_session import TorchSession
from lqhq.export.validate import SEED
from lqhq.export.validate_half import EXTREME_DB, MOST_DB, largest_allowed
from lqhq.runtime.bundle import Bundle
from lqhq.runtime.errors import CheckpointError, EngineError
from lqhq.runtime.manifest import Role
from lqhq.runtime.parity import measure
from lqhq.runtime.precision import LEAST_PSNR, Precision
from lqhq.runtime.restorer import Restorer
from lqhq.runtime.session import Session

__all__ = ["bisect_precision", "smallest_islands"]

Passes = Callable[[Sequence[str]], bool]

SEARCH_SIDE = 96  # of photos while searching, in network pixels; what is found is checked on PHOTO_SIDE
# An engine rounds otherwise than PyTorch, and must reach the bound, too. What a search ends with is near the bound, and
# comes from networks that pass errors on: two runs of one differed by 2.6 dB.
MARGIN_DB, SEARCH_MARGIN_DB = 1.0, 3.0
STRICTER_DB = 3.0  # more is asked of each role where all together miss the bound
ROUNDS = 3


def smallest_islands(parts: Callable[[str], Sequence[str]], passes: Passes) -> tuple[str, ...]:
    """Paths of modules, none inside another and none dispensable, with which `passes` holds.

    `parts(path)` are the modules inside the one at `path`, "" the whole; `passes(("",))` must hold.
    """
    if passes(()):
        return ()
    kept, whole = [""], set[str]()  # those in `whole` are needed as they are
    while (path := next((one for one in kept if one not in whole), None)) is not None:
        kept, whole = _opened(path, kept, whole, parts, passes)
    return tuple(sorted(_needed(kept, passes)))


def _opened(
    path: str, kept: list[str], whole: set[str], parts: Callable[[str], Sequence[str]], passes: Passes
) -> tuple[list[str], set[str]]:
    """`kept` with the needed parts of the module at `path` in its place; or that module is needed as a whole.

    Where its parts do not do, their own parts may: an island gives half precision, so a part that ends with the
    network's own residual is worse as an island than its layers are.
    """
    others, inside = [one for one in kept if one != path], list(parts(path))
    while inside:
        if passes([*others, *inside]):
            return [*others, *_needed(inside, lambda some: passes([*others, *some]))], whole
        deeper = [one for name in inside for one in (parts(name) or [name])]
        if deeper == inside:
            break
        inside = deeper
    return kept, whole | {path}


def _needed(paths: Sequence[str], passes: Passes) -> list[str]:
    """`paths` without those that can be left out: halves first, then smaller runs, then each alone."""
    kept, run = list(paths), len(paths)
    while run:
        start = 0
        while start < len(kept):
            without = kept[:start] + kept[start + run :]
            if passes(without):
                kept = without
            else:
                start += run
        run //= 2
    return kept


def bisect_precision(
    recipe: Recipe,
    bundle: Bundle,
    precision: Precision,
    *,
    images: JudgedImages | None = None,
    least_psnr: float | None = None,
    given: Mapping[Role, Sequence[str]] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> IslandPlan:
    """A smallest set of islands for each role with which finished images come to `least_psnr` dB against float32.

    They also keep every tensor within what export allows. `given` are islands by role that are there anyway; they alone
    are tried first. `bundle` holds the recipe's float32 graphs. Raises `CheckpointError` where no set does.
    """
    least = LEAST_PSNR[precision] if least_psnr is None else least_psnr
    images = images or judged_images(recipe, bundle.manifest)
    fixed = {graph.role: tuple((given or {}).get(graph.role, ())) for graph in recipe.graphs}
    check = _Trial(recipe, bundle, precision, images)
    reached, reason = check.judge(fixed, least + MARGIN_DB)
    if not reason:
        return _plan(precision, fixed, reached)
    say(f"{precision}: {reached:.1f} dB, {reason}; looking for what must stay in float32")
    photos = {one.name: one.photo for one in images.photos}
    search = _Trial(recipe, bundle, precision, judged_images(recipe, bundle.manifest, photos, side=SEARCH_SIDE))
    share = 10 * np.log10(len(recipe.graphs))  # the errors of roles add up
    wanted = least + SEARCH_MARGIN_DB
    for asked in (wanted + share + STRICTER_DB * step for step in range(ROUNDS)):
        for trial in (search, check):
            islands = {graph.role: _role(graph, trial, asked, fixed[graph.role], say) for graph in recipe.graphs}
            reached, reason = check.judge(islands, wanted)
            say(f"all roles together: {reached:.1f} dB{f', {reason}' if reason else ''}")
            if not reason:
                return _plan(precision, islands, reached)
    raise CheckpointError(
        "--bisect-precision",
        found=f"{reached:.1f} dB at best, {reason}",
        expected=f"at least {wanted:.1f} dB",
        mend="Ask for less with --least-psnr, or stay with fp32.",
    )


def _plan(precision: Precision, islands: Mapping[Role, Sequence[str]], reached: float) -> IslandPlan:
    assert precision != "fp32"
    named = {role: tuple(paths) for role, paths in islands.items()}
    return IslandPlan(precision=precision, islands=named, psnr=round(min(reached, MOST_DB), 1))


def _role(
    graph: RoleGraph, trial: _Trial, least: float, fixed: Sequence[str], say: Callable[[str], None]
) -> tuple[str, ...]:
    """The islands of one role, `fixed` among them or inside, with the other roles in float32."""
    called = _called(graph, graph.half_form())
    tried: dict[tuple[str, ...], bool] = {}

    def passes(islands: Sequence[str]) -> bool:
        key = _outermost({*islands, *fixed})
        if key not in tried:
            reached, reason = trial.judge({graph.role: key}, least)
            tried[key] = not reason
            say(f"  {graph.role}, {len(tried)}: {len(key)} islands, {reached:.1f} dB{f', {reason}' if reason else ''}")
        return tried[key]

    found = _outermost({*smallest_islands(lambda path: _parts(called, path), passes), *fixed})
    say(f"{graph.role}: {', '.join(name or 'all of it' for name in found) or 'nothing'} must stay in float32")
    return found


def _called(graph: RoleGraph, form: nn.Module) -> tuple[str, ...]:
    """Paths of the submodules that are run as such; a list of modules, or one whose method is called, is not."""
    called: dict[str, None] = {}
    handles = [
        child.register_forward_hook(lambda *_, name=name: called.setdefault(name))
        for name, child in form.named_modules()
    ]
    feed = graph.examples(np.random.default_rng(SEED), 1, graph.smallest, graph.smallest)
    try:
        with torch.no_grad():
            form(*(torch.from_numpy(feed[name]) for name in graph.inputs))
    finally:
        for handle in handles:
            handle.remove()
    return tuple(called)


def _parts(called: Sequence[str], path: str) -> list[str]:
    """The outermost of `called` inside `path`."""
    return list(_outermost({name for name in called if name != path and (not path or name.startswith(f"{path}."))}))


def _outermost(paths: Collection[str]) -> tuple[str, ...]:
    """`paths` without those inside others, sorted."""
    found: list[str] = []
    for name in sorted(paths, key=lambda path: (path.count("."), path) if path else (-1, "")):
        if not any(not one or name.startswith(f"{one}.") for one in found):
            found.append(name)
    return tuple(sorted(found))


class _Trial:
    """Images, and how near a set of islands comes on them."""

    def __init__(self, recipe: Recipe, bundle: Bundle, precision: Precision, images: JudgedImages) -> None:
        self._recipe, self._bundle, self._precision, self._images = recipe, bundle, precision, images

    def judge(self, islands: Mapping[Role, Sequence[str]], least: float) -> tuple[float, str]:
        """The worst PSNR in dB, and why that will not do, "" where it will. Roles without `islands` are in float32."""
        arithmetic = {graph.role: HalfArithmetic() for graph in self._recipe.graphs}
        # All copies first: roles share submodules, and what watches one role must not be copied into another.
        modules = {
            graph.role: halved(graph.half_form(), DTYPES[self._precision], islands[graph.role])
            if graph.role in islands
            else graph.module
            for graph in self._recipe.graphs
        }
        with ExitStack() as stack:
            sessions: dict[str, Session] = {
                graph.role: stack.enter_context(TorchSession(graph, modules[graph.role], arithmetic[graph.role]))
                for graph in self._recipe.graphs
            }
            worst = np.inf
            slack = {0.0: self._images.photos, EXTREME_DB: self._images.extremes}
            for spare, exact in ((spare, one) for spare, images in slack.items() for one in images):
                try:
                    worst = min(worst, spare + self._distance(Restorer(self._bundle.bare(), sessions), exact))
                except EngineError as error:  # NaN in the image
                    worst, reason = -np.inf, error.found
                except RuntimeError as error:  # PyTorch's, where an island leaves types mixed
                    worst, reason = -np.inf, str(error).splitlines()[0]
                else:
                    reason = self._overflow(arithmetic) or ("" if worst >= least else f"below {least:.1f} dB")
                if reason:
                    return worst, reason
        return worst, ""

    def _overflow(self, arithmetic: Mapping[Role, HalfArithmetic]) -> str:
        """The first value that is too large, or ""."""
        allowed = largest_allowed(self._precision)
        for role, one in arithmetic.items():
            for (path, operator), value in one.largest.items():
                if not value <= allowed:
                    return f"{value:.3g} in {role} {path} {operator}, more than {allowed:.3g}"
        return ""

    def _distance(self, restorer: Restorer, exact: Exact) -> float:
        psnr = measure(restored(restorer, exact), exact.levels, peak=255).psnr
        return np.inf if psnr is None else psnr
