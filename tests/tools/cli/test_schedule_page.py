"""Schedules as text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from lqhq.runtime.bundle import read_manifest
from lqhq.runtime.schedule import Row, Schedule, Start
from lqhq.tools.cli.schedule_page import schedule_lines, schedule_table

LEARNED = Schedule(
    start=Start(c_img=0.25, c_noise=0.96875),
    rows=(
        Row(t=999, p=2, q=-1.5, clip=1, c_state=0.5, c_pred=0.125, c=(0.25,), log_sigma=(-7, 2.5)),
        Row(t=0, clip=2, c_state=0, c=(1, 1 / 3)),
    ),
    about="two\nrows",
)


def words(text: str) -> list[str]:
    """Lines with runs of spaces made one: what is said, not how it is aligned."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_one_line_each_with_the_default_marked(tiny_bundle: Callable[..., Path]) -> None:
    manifest = read_manifest(tiny_bundle(default_schedule="three"))
    graph = manifest.graphs["denoise"]["fp32"]
    with_variance = msgspec.structs.replace(graph, outputs={**graph.outputs, "var": graph.outputs["pred"]})
    manifest = msgspec.structs.replace(
        manifest,
        graphs={"denoise": {"fp32": with_variance}},
        schedules={**manifest.schedules, "ddpm": LEARNED},
    )
    assert words("\n".join(schedule_lines(manifest))) == [
        "fast 1 row t = 1 no noise no clip one InDI step",
        "* three 3 rows t = 1 to 0.3333 no noise no clip three InDI steps",
        "noisy 3 rows t = 1 to 0.3333 noise at start and 2 rows no clip three InDI steps, Brownian noise",
        "ddpm 2 rows t = 999 to 0 noise at start and 1 row, learned variance clip 1 to 2 two?rows",
        "* is the default; --schedule NAME shows the rows",
    ]


def test_the_table_has_every_number() -> None:
    assert words(schedule_table("ddpm", LEARNED)) == [
        "ddpm: two?rows",
        "start: state = 0.25 * image + 0.96875 * noise",
        "v = clip(p * state + q * pred)",
        "state = c_state * state + c_pred * pred + c0 * v + c1 * v[-1] + ... + n * noise",
        "",
        "row t p q clip c_state c_pred c0 c1 n",
        "0 999 2 -1.5 1 0.5 0.125 0.25 - exp(-7 + 2.5 * var)",
        "1 0 0 1 2 0 0 1 0.333333 0",
    ]


def test_columns_of_the_table_line_up() -> None:
    head, *rows = schedule_table("ddpm", LEARNED).splitlines()[-3:]
    for name in ("t", "clip", "c_state", "c1"):
        at = head.index(f" {name} ") + 1
        assert all(row[at - 1] == " " != row[at] for row in rows), name


def test_a_planted_fault_in_a_row_shows() -> None:
    wrong = msgspec.structs.replace(LEARNED, rows=(LEARNED.rows[0], Row(t=0, clip=2, c_state=0, c=(1, 0.25))))
    assert schedule_table("ddpm", wrong) != schedule_table("ddpm", LEARNED)
