"""A batch: what is skipped, what is noted, what ends it, and what the restorer is told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lqhq.runtime import batch, whole_file
from lqhq.runtime.batch import restore_files
from lqhq.runtime.errors import CancelledError
from lqhq.runtime.file_plan import FilePair
from lqhq.runtime.image_file import ImageFile, read_image
from lqhq.runtime.image_write import write_image
from lqhq.runtime.restorer import Restorer

SEED = 20260711


@pytest.fixture
def restorer(tiny_bundle):
    with Restorer.open(tiny_bundle(scale=4), threads=1) as opened:
        yield opened


@pytest.fixture
def three(tmp_path: Path) -> list[FilePair]:
    rng = np.random.default_rng(SEED)
    for index in range(3):
        write_image(tmp_path / f"{index}.png", ImageFile(pixels=rng.integers(0, 256, (9, 11, 3), np.uint8)))
    return [FilePair(tmp_path / f"{index}.png", tmp_path / "out" / f"{index}.png") for index in range(3)]


class Spy:
    """Stands in for `Restorer.restore`: keeps the options and does as told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: BaseException | None = None) -> None:
        self.calls: list[dict[str, Any]] = []
        self.error = error
        monkeypatch.setattr(Restorer, "restore", self)

    def __call__(self, image: np.ndarray, **options: Any) -> np.ndarray:
        self.calls.append(options)
        if self.error is not None:
            raise self.error
        return image.repeat(4, 0).repeat(4, 1)


def statuses(outcomes: list[batch.Outcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


def test_a_bad_file_is_noted_and_the_rest_is_restored(restorer, three):
    three[1].source.write_bytes(b"planted fault")
    outcomes = restore_files(restorer, three)
    assert statuses(outcomes) == ["done", "failed", "done"]
    assert str(outcomes[1].error).startswith(f"{three[1].source}: found")
    assert np.array_equal(read_image(three[2].target).pixels, restorer.restore(read_image(three[2].source).pixels))
    assert not three[1].target.exists()


@pytest.mark.parametrize(("age", "status"), [(-10, "done"), (0, "skipped"), (10, "skipped")])
def test_resume_skips_a_result_that_is_not_older(restorer, three, monkeypatch, age, status):
    spy, pair = Spy(monkeypatch), three[0]
    pair.target.parent.mkdir()
    pair.target.write_bytes(b"old")
    os.utime(pair.source, (1000, 1000))
    os.utime(pair.target, (1000 + age, 1000 + age))
    assert statuses(restore_files(restorer, [pair], resume=True)) == [status]
    assert len(spy.calls) == (status == "done")
    assert statuses(restore_files(restorer, [pair])) == ["done"]  # without it, nothing is skipped


def test_resume_meets_a_missing_input_as_a_failure(restorer, three):
    restore_files(restorer, three[:1])
    three[0].source.unlink()
    assert statuses(restore_files(restorer, three[:1], resume=True)) == ["failed"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), CancelledError("x", found="a", expected="b", mend="c")])
def test_who_stops_it_stops_all(restorer, three, monkeypatch, error):
    spy = Spy(monkeypatch, error)
    with pytest.raises(type(error)):
        restore_files(restorer, three)
    assert len(spy.calls) == 1


def test_memory_that_runs_out_fails_one_file(restorer, three, monkeypatch):
    Spy(monkeypatch, MemoryError())
    outcome = restore_files(restorer, three[:1])[0]
    assert outcome.status == "failed"
    assert "--tile" in str(outcome.error)


def test_options_and_listeners_reach_the_restorer(restorer, three, monkeypatch):
    spy, heard, noted = Spy(monkeypatch), [], []
    options = {"schedule": "noisy", "seed": 7, "tile": 16, "overlap": 4, "blend": "each", "color_fix": "adain"}
    restore_files(
        restorer,
        three[:1],
        options={**options, "memory": 10**9},
        listen=lambda *words: heard.append(words),
        note=lambda pair, text: noted.append((pair, text)),
    )
    progress = spy.calls[0].pop("progress")
    progress(2, 5)
    assert spy.calls == [{**options, "memory": 10**9}]
    assert heard == [(0, three[0], 2, 5)]
    assert noted[0][0] == three[0]
    assert "tile 16x16" in noted[0][1]


@pytest.mark.parametrize("options", [None, {"memory": None}])
def test_one_budget_for_all_files(restorer, three, monkeypatch, options):
    budgets = iter([10**9, 1])  # a second question would get an answer that fits nothing
    monkeypatch.setattr(batch, "default_budget", lambda: next(budgets))
    spy = Spy(monkeypatch)
    assert statuses(restore_files(restorer, three, options=options)) == ["done"] * 3
    assert [call["memory"] for call in spy.calls] == [10**9] * 3


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("0.png/x.png", "a file in the place of its folder"),
        ("0.png/deep/x.png", "a file in the place of its folder"),
        ("folder.png", "a folder of that name"),
        ("x" * 300 + ".png", "File name too long"),
        ("x" * 300 + "/x.png", "File name too long"),
        ("/proc/x.png", "found "),
    ],
)
def test_what_cannot_be_written_is_found_before_the_work(restorer, three, tmp_path, monkeypatch, target, found):
    (tmp_path / "folder.png").mkdir()
    spy = Spy(monkeypatch)
    outcome = restore_files(restorer, [FilePair(three[0].source, tmp_path / target)])[0]
    assert outcome.status == "failed"
    assert found in str(outcome.error)
    assert spy.calls == []


def test_a_folder_closed_to_us_is_found_before_the_work(restorer, three, tmp_path, monkeypatch):
    """Rights do not bind root, so the refusal is planted."""

    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(whole_file.tempfile, "TemporaryFile", refuse)
    spy = Spy(monkeypatch)
    outcome = restore_files(restorer, three[:1])[0]
    assert "found Permission denied" in str(outcome.error)
    assert spy.calls == []


def test_the_probe_leaves_nothing(restorer, three, monkeypatch):
    Spy(monkeypatch, MemoryError())
    restore_files(restorer, three)
    assert list(three[0].target.parent.iterdir()) == []


def test_the_choice_that_is_told_is_of_the_whole_image_with_its_alpha(restorer, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (200, 200, 4), dtype=np.uint8)
    write_image(tmp_path / "in.png", ImageFile(pixels=pixels))
    told: list[str] = []
    pair = FilePair(tmp_path / "in.png", tmp_path / "out.png")
    restore_files(restorer, [pair], note=lambda _, text: told.append(text), options={"memory": 10**9})
    assert told == [restorer.plan(pixels, memory=10**9).describe()]
    assert told != [restorer.plan(pixels[..., :3], memory=10**9).describe()]
