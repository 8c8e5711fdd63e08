"""Wrong pixels end the run; lines tell what was measured."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from measuring.scene import scene
from serving.bench import BARE, COLUMNS, check_answer, headings, row
from serving.load import Sample

EXPECTED = scene(4, 5)


def _service(answer: np.ndarray) -> Any:
    caller = SimpleNamespace(call=lambda index: answer.tobytes(), close=lambda: None)
    memory = SimpleNamespace(memory=lambda: 123_456_789)
    return SimpleNamespace(
        name="peer", note="as told", process=memory, connect=lambda: caller, image_of=lambda reply: reply
    )


def test_a_right_answer_is_taken() -> None:
    check_answer(_service(EXPECTED), EXPECTED, apart=0)
    near = EXPECTED.copy()
    near[0, 0, 0] ^= 1
    check_answer(_service(near), EXPECTED, apart=1)


def test_a_wrong_one_ends_the_run() -> None:
    """The planted faults: one level more than is allowed, and a row that is missing."""
    near = EXPECTED.copy()
    near[0, 0, 0] ^= 1
    with pytest.raises(SystemExit, match="peer: pixels are 1 levels off; expected 0 or less"):
        check_answer(_service(near), EXPECTED, apart=0)
    with pytest.raises(SystemExit, match="peer: 45 values; expected 60"):
        check_answer(_service(EXPECTED[:3]), EXPECTED, apart=1)


def test_a_line_has_a_value_for_every_heading() -> None:
    samples = [Sample(latencies=[0.01, 0.03], seconds=0.04), Sample(latencies=[0.02, 0.02], seconds=0.04)]
    line = row(_service(EXPECTED), samples, "1.5")
    assert line == ("peer", "20.0", "30.0", "30.0", "50.0", "1.5", "123", "as told")
    assert len(line) == len(headings("x")) == len(COLUMNS) + 1
    assert headings("x")[5] == "x"
    assert row(None, samples, 1)[0] == BARE
