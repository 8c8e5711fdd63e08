"""Schedules as text: one line each, or the full table of rows."""

from __future__ import annotations

from lqhq.runtime.manifest import Manifest
from lqhq.runtime.schedule import Row, Schedule
from lqhq.tools.cli.columns import aligned, clean

__all__ = ["schedule_lines", "schedule_table"]

FORMULA = """  v     = clip(p * state + q * pred)
  state = c_state * state + c_pred * pred + c0 * v + c1 * v[-1] + ... + n * noise"""


def schedule_lines(manifest: Manifest) -> list[str]:
    """One line per schedule: rows, range of t, noise, clip, meaning; `*` marks the default."""
    rows = []
    for name, schedule in manifest.schedules.items():
        mark = "*" if name == manifest.default_schedule else " "
        count = len(schedule.rows)
        rows.append(
            (
                f"{mark} {name}",
                f"{count} row{'s' if count > 1 else ''}",
                _times(schedule),
                _noise(schedule),
                _clip(schedule),
                clean(schedule.about),
            )
        )
    return [*aligned(rows), "  * is the default; --schedule NAME shows the rows"]


def schedule_table(name: str, schedule: Schedule) -> str:
    """Every row of one schedule, in aligned columns of six digits; `--json` has all digits."""
    depth = schedule.depth
    head = ("row", "t", "p", "q", "clip", "c_state", "c_pred", *(f"c{j}" for j in range(depth + 1)), "n")
    rows = [(str(index), *_cells(row, depth)) for index, row in enumerate(schedule.rows)]
    start = f"  start: state = {_number(schedule.start.c_img)} * image"
    if schedule.start.c_noise:
        start += f" + {_number(schedule.start.c_noise)} * noise"
    about = f": {clean(schedule.about)}" if schedule.about else ""
    return "\n".join([f"{name}{about}", start, FORMULA, "", *aligned([head, *rows])]) + "\n"


def _cells(row: Row, depth: int) -> list[str]:
    past = [_number(row.c[j]) if j < len(row.c) else "-" for j in range(depth + 1)]
    noise = _number(row.sigma)
    if row.log_sigma is not None:
        noise = f"exp({_number(row.log_sigma[0])} + {_number(row.log_sigma[1])} * var)"
    clip = "-" if row.clip is None else _number(row.clip)
    numbers = [_number(value) for value in (row.t, row.p, row.q)]
    return [*numbers, clip, _number(row.c_state), _number(row.c_pred), *past, noise]


def _number(value: float) -> str:
    return f"{value:.6g}"


def _times(schedule: Schedule) -> str:
    first, last = schedule.rows[0].t, schedule.rows[-1].t
    return f"t = {first:.4g}" if first == last else f"t = {first:.4g} to {last:.4g}"


def _noise(schedule: Schedule) -> str:
    places = ["start"] if schedule.start.c_noise else []
    noisy = sum(row.noisy for row in schedule.rows)
    places += [f"{noisy} row{'s' if noisy > 1 else ''}"] if noisy else []
    learned = ", learned variance" if schedule.needs_variance else ""
    return f"noise at {' and '.join(places)}{learned}" if places else "no noise"


def _clip(schedule: Schedule) -> str:
    clips = sorted({row.clip for row in schedule.rows if row.clip is not None})
    if not clips:
        return "no clip"
    return f"clip {clips[0]:g}" if len(clips) == 1 else f"clip {clips[0]:g} to {clips[-1]:g}"
