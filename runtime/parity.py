"""Comparing arrays with a reference: metrics, the stated tolerances, and a report with a verdict.

NumPy only, so that a bundle can be checked where nothing but the runtime is installed. What is compared with what
is decided elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec
import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.manifest import ParityRecord, Unit, bound_text
from lqhq.runtime.precision import Precision

__all__ = [
    "FINISHED",
    "FORWARD",
    "MOST_CHANGED",
    "MOST_FORWARD",
    "TRAJECTORY",
    "Case",
    "Measure",
    "Report",
    "Tolerance",
    "compare",
    "measure",
    "ssim",
]

WINDOW, SIGMA = 11, 1.5  # of SSIM: Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 2004
K1, K2 = 0.01, 0.03


class Tolerance(msgspec.Struct, frozen=True, kw_only=True):
    """What a comparison may differ by.

    `max_abs` is absolute; `relative` says that it grows with the reference's largest value where that is above
    one. `changed` is the share of values that may differ at all (integers), but never fewer than `few` of them.
    Where `least_psnr` (dB) is given it alone decides, but for NaN and infinity.
    """

    max_abs: float = math.inf
    least_psnr: float | None = None
    relative: bool = False
    changed: float = 1.0
    few: int = 0


# Measured on the CPU with small random networks: engines differ from PyTorch by 1e-6 to 6e-6 in one call, and
# by 1e-5 to 3e-4 after 20, since errors of x_t pass through every later call. FORWARD leaves a factor of three;
# the other two are floors, which the comparison raises as far as the network's measured sensitivity asks.
FORWARD = Tolerance(max_abs=2e-5, relative=True)
MOST_FORWARD = 4e-3  # of one call of a sensitive network: above it, a bound no longer tells a right graph from a wrong
# Not `relative`: finished floats are clamped, so who compares multiplies by the largest value before the clamp.
TRAJECTORY = Tolerance(max_abs=1e-4)
# A float error of 1e-5 crosses a rounding border of 8 bits about once in 1000 values; a wrong filter, rounding or
# order of channels changes far more. Four values are let pass in the smallest images.
FINISHED = Tolerance(max_abs=1, changed=1e-3, few=4)
MOST_CHANGED = 0.05  # of a sensitive network's values: above it, an image no longer tells a right bundle from a wrong


class Measure(msgspec.Struct, frozen=True, kw_only=True):
    """How far an array is from its reference. `psnr` is None where they are equal, `ssim` for small images.

    `nan_count` counts what is no finite number, NaN or infinity, on either side.
    """

    max_abs: float
    p99_9: float
    changed: float
    psnr: float | None
    ssim: float | None
    nan_count: int


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison: what, in which case, by which measure, against which bound, with what verdict.

    `tolerance` is the largest absolute difference, or, where `unit` is dB, the least PSNR.
    """

    what: str
    case: str
    measure: Measure
    tolerance: float
    unit: Unit = "abs"
    passed: bool

    @property
    def bound(self) -> str:
        """The tolerance as text."""
        return bound_text(self.tolerance, self.unit)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All comparisons of one run. It passes when there is a case and every case passes.

    `how` says how the graphs were run where that is not how they will be: half precision emulated on a CPU.
    """

    precision: Precision = "fp32"
    how: str = ""
    cases: tuple[Case, ...]

    @property
    def passed(self) -> bool:
        return bool(self.cases) and all(case.passed for case in self.cases)

    def records(self) -> tuple[ParityRecord, ...]:
        """The worst of each kind of comparison, for the manifest."""
        return tuple(
            _record(what, self.precision, [case for case in self.cases if case.what == what])
            for what in dict.fromkeys(case.what for case in self.cases)
        )

    def table(self) -> str:
        """A table for people, and the verdict under it."""
        head = ("what", "case", "max abs", "p99.9", "PSNR", "SSIM", "NaN/inf", "bound", "")
        lines = [head] + [
            (
                case.what,
                case.case,
                f"{case.measure.max_abs:.2e}",
                f"{case.measure.p99_9:.2e}",
                "equal"
                if case.measure.psnr is None and case.measure.max_abs == 0
                else _number(case.measure.psnr, ".1f"),
                _number(case.measure.ssim, ".6f"),
                str(case.measure.nan_count),
                case.bound,
                "ok" if case.passed else "FAILED",
            )
            for case in self.cases
        ]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rows = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
        ]
        failed = sum(not case.passed for case in self.cases)
        verdict = (
            f"parity holds in {len(self.cases)} cases"
            if self.passed
            else f"PARITY FAILS in {failed} of {len(self.cases)} cases"
        )
        verdict += f" ({self.precision}{', ' if self.how else ''}{self.how})" if self.precision != "fp32" else ""
        return "\n".join([*rows, verdict])

    def to_json(self) -> bytes:
        """The report for machines: {"passed", "precision", "cases": [...]}."""
        body = {"passed": self.passed, **msgspec.to_builtins(self)}
        return msgspec.json.format(msgspec.json.encode(body), indent=1) + b"\n"


def measure(ours: NDArray[np.generic], reference: NDArray[np.generic], *, peak: float) -> Measure:
    """Measures of `ours` against `reference`, equal shapes, `[..., H, W]`; `peak` is the width of the value range.

    A NaN or an infinity on either side counts in `nan_count` and makes `max_abs` infinite. Raises `ValueError` for
    unequal shapes.
    """
    if ours.shape != reference.shape:
        raise ValueError(f"shapes {ours.shape} and {reference.shape} differ")
    a, b = ours.astype(np.float64), reference.astype(np.float64)
    nans = int((~np.isfinite(a)).sum() + (~np.isfinite(b)).sum())
    if nans or not a.size:
        return Measure(max_abs=math.inf, p99_9=math.inf, changed=1.0, psnr=None, ssim=None, nan_count=nans)
    error = np.abs(a - b)
    mean_square = float(np.square(error).mean())
    return Measure(
        max_abs=float(error.max()),
        p99_9=float(np.quantile(error, 0.999)),
        changed=float((error > 0).mean()),
        psnr=20 * math.log10(peak) - 10 * math.log10(mean_square) if mean_square else None,
        ssim=ssim(a, b, peak=peak),
        nan_count=0,
    )


def compare(
    what: str,
    case: str,
    ours: NDArray[np.generic],
    reference: NDArray[np.generic],
    *,
    peak: float,
    tolerance: Tolerance,
) -> Case:
    """Measure and judge. Unequal shapes fail, like everything else that is not near."""
    if ours.shape != reference.shape:
        lost = Measure(max_abs=math.inf, p99_9=math.inf, changed=1.0, psnr=None, ssim=None, nan_count=0)
        case = f"{case}: shape {ours.shape} for {reference.shape}"
        if tolerance.least_psnr is not None:
            return Case(what=what, case=case, measure=lost, tolerance=tolerance.least_psnr, unit="dB", passed=False)
        return Case(what=what, case=case, measure=lost, tolerance=tolerance.max_abs, passed=False)
    found = measure(ours, reference, peak=peak)
    if tolerance.least_psnr is not None:
        near = not found.nan_count and (found.psnr is None or found.psnr >= tolerance.least_psnr)
        return Case(
            what=what,
            case=case,
            measure=found,
            tolerance=tolerance.least_psnr,
            unit="dB",
            passed=near and bool(ours.size),
        )
    bound = tolerance.max_abs
    if tolerance.relative and reference.size:
        values = np.abs(reference.astype(np.float64))
        bound *= max(1.0, float(values.max(initial=0.0, where=np.isfinite(values))))
    allowed = max(tolerance.changed * ours.size, tolerance.few)
    near = found.max_abs <= bound and found.changed * ours.size <= allowed + 0.5
    return Case(what=what, case=case, measure=found, tolerance=bound, passed=near and not found.nan_count)


def ssim(ours: NDArray[np.float64], reference: NDArray[np.float64], *, peak: float) -> float | None:
    """Mean SSIM over all leading axes of `[..., H, W]`: Gaussian window 11x11, sigma 1.5, windows wholly inside.

    None where a side is below 11 pixels.
    """
    if ours.ndim < 2 or min(ours.shape[-2:]) < WINDOW:
        return None
    mean_a, mean_b = _blur(ours), _blur(reference)
    variances = _blur(ours * ours) - mean_a**2 + _blur(reference * reference) - mean_b**2
    covariance = _blur(ours * reference) - mean_a * mean_b
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return float((top / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))).mean())


def _blur(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Gaussian window along both of the last axes, one after the other."""
    axis = np.arange(WINDOW) - WINDOW // 2
    line = np.exp(-np.square(axis) / (2 * SIGMA**2))
    line /= line.sum()
    for along in (-2, -1):
        image = np.lib.stride_tricks.sliding_window_view(image, WINDOW, axis=along) @ line
    return image


def _record(what: str, precision: Precision, cases: list[Case]) -> ParityRecord:
    measures = [case.measure for case in cases]
    return ParityRecord(
        what=what,
        precision=precision,
        cases=len(cases),
        max_abs=max(item.max_abs for item in measures),
        p99_9=max(item.p99_9 for item in measures),
        psnr=_least(item.psnr for item in measures),
        ssim=_least(item.ssim for item in measures),
        nan_count=sum(item.nan_count for item in measures),
        tolerance=(max if cases[0].unit == "abs" else min)(case.tolerance for case in cases),
        unit=cases[0].unit,
        passed=all(case.passed for case in cases),
    )


def _least(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
