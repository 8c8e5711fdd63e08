"""From a trace of impulses to rows: which history a scheduler keeps, how deep, with which factors."""

from __future__ import annotations

from typing import Any

import numpy as np

from lqhq.export.probe_errors import refusal
from lqhq.export.probe_run import Call, Inputs, Run, Trace, Vector, drive
from lqhq.runtime.schedule import Row

__all__ = ["clipped_rows", "fitted_rows", "impulses"]

MAX_RESIDUAL = 1e-6  # relative; schedulers that cast their state to float32 leave up to 2e-8
NEGLIGIBLE = 1e-12  # a factor whose part in the result is below this is written as 0
SATURATION = 100.0  # times the clip, so that clip * (1 + rounding) stays clear of the linear range


def impulses(calls: int) -> Inputs:
    """One pixel per input: 0 the first sample, 1 + i the output of call i, 1 + calls + i the noise of call i.

    Pixel j of a state is then the exact factor of input j in it.
    """
    basis = np.eye(1 + 2 * calls)
    return Inputs(
        first=basis[0],
        pred=lambda i: np.asarray(basis[1 + i], dtype=np.float64),
        noise=lambda i: np.asarray(basis[1 + calls + i], dtype=np.float64),
    )


def fitted_rows(scheduler: Any, trace: Trace, max_depth: int) -> tuple[Row, ...]:
    """The rows that explain `trace`, with the least history. Raises `ScheduleError` when none do.

    The history may hold what the scheduler's own conversion returned, its x0, or the network's raw output.
    """
    histories = [_history(trace, name) for name in ("converted", "x0", "pred")]
    best = np.inf
    for depth in range(min(max_depth, len(trace.calls) - 1) + 1):
        for history in histories:
            if history is None:
                continue
            rows, residual = _fit(trace, *history, depth)
            if residual <= MAX_RESIDUAL:
                return rows
            best = min(best, residual)
    raise refusal(
        scheduler,
        found=f"a relative residual of {best:.1e} with {max_depth} earlier values",
        mend="Raise max_depth (PNDM with its Runge-Kutta steps needs 12), or use another scheduler.",
    )


def clipped_rows(scheduler: Any, rows: tuple[Row, ...], clip: float, run: Run) -> tuple[Row, ...]:
    """`rows` of the unclipped `scheduler`, refitted for x0 clipped to [-clip, clip]; `scheduler` is a fresh one.

    Each call is driven far into saturation, where v = +-clip: differences give the factors of state,
    prediction and noise, and the rest is the factor of v.
    """
    if any(len(row.c) > 1 for row in rows):
        raise refusal(scheduler, found="clipped x0 in a multistep sampler", mend="Set clip_sample=False.")
    if all((row.p, row.q) == (0.0, 1.0) for row in rows) and scheduler.config.prediction_type != "sample":
        raise refusal(scheduler, found="an x0 that is clipped but not shown", mend="Set clip_sample=False.")
    signs = np.array([[np.copysign(1, row.p), np.copysign(1, row.q)] for row in rows])
    size = SATURATION * clip
    inputs = Inputs(
        first=np.zeros(4),
        sample=lambda i: size * signs[i, 0] * np.array([1.0, 2.0, 1.0, 1.0]),
        pred=lambda i: size * signs[i, 1] * np.array([1.0, 1.0, 2.0, 1.0]),
        noise=lambda i: np.array([0.0, 0.0, 0.0, 1.0]),
    )
    trace = drive(scheduler, inputs, run)
    if any(not np.array_equal(call.state, call.sample) for call in trace.calls):
        raise refusal(scheduler, found="clipped x0 of a scaled input", mend="Set clip_sample=False.")
    return tuple(_clipped(row, call, clip) for row, call in zip(rows, trace.calls, strict=True))


def _clipped(row: Row, call: Call, clip: float) -> Row:
    rest, state_part, pred_part, noisy = (float(value) for value in call.after)
    c_state = (state_part - rest) / float(call.state[0])
    c_pred = (pred_part - rest) / float(call.pred[0])
    c_0 = (rest - c_state * float(call.state[0]) - c_pred * float(call.pred[0])) / clip
    small = NEGLIGIBLE * max(abs(c_state), abs(c_pred), abs(c_0))
    return Row(
        t=row.t,
        p=row.p,
        q=row.q,
        clip=clip,
        c_state=_cut(c_state, small),
        c_pred=_cut(c_pred, small),
        c=(c_0,),
        sigma=_cut(noisy - rest, small),
    )


def _history(trace: Trace, name: str) -> tuple[list[Vector], list[tuple[float, float]]] | None:
    """Every call's v of this kind with its (p, q), or None when it is not p*state + q*pred everywhere."""
    values, factors = [], []
    for call in trace.calls:
        value = getattr(call, name)
        if value is None:
            return None
        (p, q), residual = _solve([call.state, call.pred], value)
        if residual > MAX_RESIDUAL:
            return None
        values.append(value)
        factors.append((p, q))
    return values, factors


def _fit(
    trace: Trace, values: list[Vector], factors: list[tuple[float, float]], depth: int
) -> tuple[tuple[Row, ...], float]:
    rows, worst = [], 0.0
    for i, (call, (p, q)) in enumerate(zip(trace.calls, factors, strict=True)):
        history = [values[i - back] for back in range(min(depth, i) + 1)]
        noise = [] if call.noise is None else [call.noise]
        found, residual = _solve([call.state, *history, *noise], trace.states[i + 1])
        worst = max(worst, residual)
        c = found[1 : 1 + len(history)]
        while len(c) > 1 and c[-1] == 0:
            c.pop()
        sigma = found[-1] if noise else 0.0
        rows.append(Row(t=call.t, p=p, q=q, c_state=found[0], c=tuple(c), sigma=sigma))
    return tuple(rows), worst


def _solve(parts: list[Vector], whole: Vector) -> tuple[list[float], float]:
    """The factors of `parts` whose sum is nearest to `whole`, and the relative error left."""
    sizes = np.array([np.abs(part).max() or 1.0 for part in parts])
    columns = np.stack(parts, axis=1) / sizes
    solution = np.linalg.lstsq(columns, whole, rcond=None)[0]
    reach = np.abs(whole).max() or 1.0
    solution[np.abs(solution) < NEGLIGIBLE * reach] = 0
    residual = float(np.abs(columns @ solution - whole).max() / reach)
    return (solution / sizes).tolist(), residual


def _cut(factor: float, small: float) -> float:
    return 0.0 if abs(factor) < small else factor
