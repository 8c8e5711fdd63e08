"""What became of each file, for people and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lqhq.runtime.batch import Outcome
from lqhq.runtime.file_plan import FilePair
from lqhq.tools.cli.batch_report import print_report

PAIR = FilePair(Path("in/a.png"), Path("out/a\x1b.png"))
DONE = Outcome(pair=PAIR, status="done", seconds=1.25, size=(40, 30), tiles="one tile")
FAILED = Outcome(pair=PAIR, status="failed", error="in/a.png: found nothing; expected an image.")
OTHER = Outcome(pair=PAIR, status="failed", error="memory ran out")


def test_sentences(capsys: Any) -> None:
    outcomes = [DONE, Outcome(pair=PAIR, status="skipped"), FAILED, OTHER]
    assert print_report("upscale", outcomes, as_json=False) == 1
    told = capsys.readouterr()
    assert told.out.splitlines() == ["out/a?.png  40x30  1.2 s", "skipped: out/a?.png exists"]
    assert told.err.splitlines() == [
        "failed: in/a.png: found nothing; expected an image.",
        "failed: in/a.png: memory ran out",
        "lqhq upscale: 2 of 4 files failed",
    ]


def test_all_well_is_zero_and_one_failure_needs_no_sum(capsys: Any) -> None:
    assert print_report("client", [DONE], as_json=False) == 0
    assert print_report("client", [FAILED], as_json=False) == 1
    assert "1 of 1" not in capsys.readouterr().err


def test_json_has_names_as_they_are_and_further_fields(capsys: Any) -> None:
    assert print_report("client", [DONE, FAILED], as_json=True, more=[{"outcome": {"seed": 7}}, {"outcome": None}]) == 1
    first, second = json.loads(capsys.readouterr().out)["files"]
    assert first == {
        "input": "in/a.png", "output": "out/a\x1b.png", "status": "done", "seconds": 1.25, "size": [40, 30],
        "tiles": "one tile", "error": None, "outcome": {"seed": 7},
    }  # fmt: skip
    assert (second["status"], second["outcome"]) == ("failed", None)
