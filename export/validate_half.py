"""Compares a half-precision bundle with PyTorch in float32, and with PyTorch's own run in that half precision.

Both runs are emulated on this CPU: products in float32, every result rounded. An error of half precision is judged by
PSNR, since it is spread over all pixels, and an overflow by the largest value of any tensor.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, cast

import torch

from lqhq.export.emulated import emulated_session
from lqhq.export.family import Arrays, Recipe, RoleGraph
from lqhq.export.finite_session import FiniteSession
from lqhq.export.goldens import SEED as GOLDEN_SEED
from lqhq.export.goldens import role_cases
from lqhq.export.half import DTYPES, at_precision
from lqhq.export.half_arithmetic import HalfArithmetic
from lqhq.export.heavy import give_back, is_heavy
from lqhq.export.judged_images import Exact, JudgedImages, judged_images, odd_images, restored
from lqhq.export.reference import reference_outputs
from lqhq.export.torch_session import TorchSession
from lqhq.export.validate import SEED, planes
from lqhq.runtime.bundle import Bundle
from lqhq.runtime.errors import EngineError
from lqhq.runtime.machine import cpu_count
from lqhq.runtime.manifest import Role
from lqhq.runtime.parity import Case, Measure, Report, Tolerance, compare
from lqhq.runtime.precision import EMULATED, HEADROOM_DB, LEAST_PSNR, Precision
from lqhq.runtime.restorer import Restorer
from lqhq.runtime.selfcheck import compare_outputs
from lqhq.runtime.session import Session
from lqhq.runtime.session_pool import SessionPool

__all__ = [
    "EXTREME_DB",
    "MOST_DB",
    "HalfReport",
    "largest_allowed",
    "validate_half",
]

EXTREME_DB = 20.0  # less than of photos is asked of them: a flat image divides rounding by next to nothing
RANGE_SHARE = 0.25  # of the type's largest number that a tensor may reach on photos; other photos are harsher
MOST_DB = 100.0  # beyond it, what differs is float32's own rounding


@dataclass(frozen=True, slots=True, kw_only=True)
class HalfReport:
    """The comparison; and by role, the worst PSNR of outputs against float32 in dB, and the largest value on photos."""

    report: Report
    psnr: Mapping[Role, float]
    largest: Mapping[Role, float]


class _Side:
    """One of the two that run the graphs of a precision: PyTorch, or an engine.

    Of a heavy model one role at a time is held, and of one side: `rest` is called between the two.
    """

    def __init__(self, recipe: Recipe, open_one: Callable[[Role], Session]) -> None:
        self._open, self._heavy = open_one, is_heavy(recipe)
        self._all: list[tuple[str, FiniteSession]] = []
        roles = tuple(graph.role for graph in recipe.graphs)
        self.sessions = SessionPool(roles, self._opened, thrifty=self._heavy)

    def _opened(self, name: str) -> Session:
        session = FiniteSession(self._open(cast(Role, name)))
        self._all.append((name, session))
        return session

    def broken(self, role: Role) -> int:
        """NaN and infinities among all that the role gave."""
        return sum(session.broken for name, session in self._all if name == role)

    def rest(self) -> None:
        if self._heavy:
            self.sessions.close()
            give_back()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Runs:
    """The graphs of one precision, run by PyTorch and by an engine; `watched` is PyTorch's arithmetic by role."""

    recipe: Recipe
    bundle: Bundle
    watched: Mapping[Role, HalfArithmetic]
    half: _Side
    engine: _Side


def validate_half(
    recipe: Recipe,
    bundle: Bundle,
    precision: Precision,
    *,
    islands: Mapping[Role, Collection[str]] | None = None,
    images: JudgedImages | None = None,
    least_psnr: float | None = None,
    threads: int | None = None,
) -> HalfReport:
    """Run the recipe in half, the bundle's graphs of `precision`, and the float32 formula on the same inputs.

    `islands` by role stay in float32, those that are declared where none are given. Without `images` the shipped photos
    are taken. Finished images must come to `least_psnr` dB. Raises `EngineError` when a graph does not run; a
    difference is not an error but a failed case.
    """
    threads = cpu_count() if threads is None else threads
    least = LEAST_PSNR[precision] if least_psnr is None else least_psnr
    images = images or judged_images(recipe, bundle.manifest)
    watched = {graph.role: HalfArithmetic() for graph in recipe.graphs}
    graphs = {graph.role: graph for graph in recipe.graphs}
    with ExitStack() as stack:

        def half(role: Role) -> Session:
            made = at_precision(graphs[role], precision, (islands or {}).get(role))
            return TorchSession(graphs[role], made.module, watched[role])  # which keeps no halves when it is closed

        def engine(role: Role) -> Session:
            return emulated_session(bundle.graph(role, precision).path, precision, threads=threads)

        runs = _Runs(
            recipe=recipe,
            bundle=bundle,
            watched=watched,
            half=_Side(recipe, half),
            engine=_Side(recipe, engine),
        )
        stack.callback(runs.half.sessions.close)
        stack.callback(runs.engine.sessions.close)
        cases, psnr = _roles(runs)
        cases += _images(runs, odd_images(recipe), least)
        for one in watched.values():
            one.largest.clear()
        cases += _images(runs, images.photos, least)
        largest = {role: max(one.largest.values(), default=0.0) for role, one in watched.items()}
        cases += _ranges(runs, largest_allowed(precision))
        cases += _images(runs, images.extremes, least - EXTREME_DB, "extreme image")
        cases += _unbroken(runs)
        cases += [
            _finite(f"outputs of {role}, {what}", side.broken(role))
            for what, side in (("PyTorch", runs.half), ("engine", runs.engine))
            for role in graphs
        ]
    return HalfReport(report=Report(precision=precision, how=EMULATED, cases=tuple(cases)), psnr=psnr, largest=largest)


def largest_allowed(precision: Precision) -> float:
    """What a tensor may reach on photos."""
    return RANGE_SHARE * torch.finfo(DTYPES[precision]).max


def _roles(runs: _Runs) -> tuple[list[Case], dict[Role, float]]:
    """The engine comes as near to float32 as PyTorch's half precision does, and as near to that."""
    low, high = runs.recipe.pixels.range
    cases: list[Case] = []
    nearest: dict[Role, float] = {}
    for graph in runs.recipe.graphs:
        role = graph.role
        nearest[role] = MOST_DB
        feeds = [*role_cases(graph, SEED).values(), *role_cases(graph, GOLDEN_SEED).values()]
        halves = [runs.half.sessions[role].run(feed) for feed in feeds]
        runs.half.rest()
        engines = [runs.engine.sessions[role].run(feed) for feed in feeds]
        runs.engine.rest()
        for feed, half, found in zip(feeds, halves, engines, strict=True):
            told: dict[str, Any] = {"batch": "x".join(map(str, next(iter(feed.values())).shape)), "peak": high - low}
            exact = reference_outputs(graph, feed)
            ours = _least(_compared("", graph, half, exact, least=0.0, **told))
            against = _compared(role, graph, found, exact, least=ours - HEADROOM_DB, **told)
            cases += against
            cases += _compared(f"{role}, PyTorch's", graph, found, half, least=ours - HEADROOM_DB, **told)
            nearest[role] = min(nearest[role], ours, _least(against))
    return cases, nearest


def _compared(
    what: str, graph: RoleGraph, ours: Arrays, theirs: Arrays, *, batch: str, peak: float, least: float
) -> list[Case]:
    tolerance = Tolerance(least_psnr=least)
    return list(compare_outputs(what, graph.outputs, batch, ours, theirs, peak=peak, tolerance=tolerance))


def _least(cases: Sequence[Case]) -> float:
    """The worst PSNR, or what counts as equal."""
    return min([MOST_DB, *(case.measure.psnr for case in cases if case.measure.psnr is not None)])


def _images(runs: _Runs, images: Sequence[Exact], least: float, what: str = "image") -> Iterator[Case]:
    """The finished 8 bits of both against those of float32. All go through one side, then through the other."""
    both = []
    for whose, side in ((what, runs.engine), (f"{what}, PyTorch", runs.half)):
        restorer = Restorer(runs.bundle.bare(), side.sessions)
        both.append([_judged(restorer, one, least, whose) for one in images])
        side.rest()
    for pair in zip(*both, strict=True):
        yield from pair


def _judged(restorer: Restorer, exact: Exact, least: float, what: str) -> Case:
    case = f"{exact.name}, {exact.schedule}" if exact.schedule else exact.name
    try:
        found = restored(restorer, exact)
    except EngineError as error:  # NaN in the image
        return Case(
            what=what,
            case=f"{case}: {error.found}",
            measure=_measure(math.inf, 1),
            tolerance=least,
            unit="dB",
            passed=False,
        )
    return compare(what, case, planes(found), planes(exact.levels), peak=255, tolerance=Tolerance(least_psnr=least))


def _ranges(runs: _Runs, allowed: float) -> Iterator[Case]:
    """Of each role, the tensor with the largest values."""
    for role, one in runs.watched.items():
        if one.largest:
            (path, operator), value = max(one.largest.items(), key=lambda item: item[1])
            yield Case(
                what="largest value",
                case=" ".join(filter(None, (role, path, operator))),
                measure=_measure(value, 0 if math.isfinite(value) else 1),
                tolerance=allowed,
                passed=value <= allowed,
            )


def _unbroken(runs: _Runs) -> Iterator[Case]:
    """No tensor may be infinite inside, whatever the result looks like."""
    for role, one in runs.watched.items():
        broken = [" ".join(key) for key, value in one.largest.items() if not math.isfinite(value)]
        yield _finite(f"tensors of {role}{': ' if broken else ''}{', '.join(broken[:3])}", len(broken))


def _finite(case: str, broken: int) -> Case:
    return Case(what="finite", case=case, measure=_measure(0.0, broken), tolerance=0.0, passed=not broken)


def _measure(value: float, broken: int) -> Measure:
    return Measure(max_abs=value, p99_9=value, changed=0.0, psnr=None, ssim=None, nan_count=broken)
