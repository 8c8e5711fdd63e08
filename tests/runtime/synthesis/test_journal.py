"""Rows that survive a kill at any byte, and the manifest that they become."""

from __future__ import annotations

import json
import os

import pytest

from lqhq.runtime.errors import ImageError
from lqhq.runtime.synthesis.journal import JOURNAL, MANIFEST, Journal, row_line

ROWS = [{"name": f"a/{index}_0", "strength": index / 7, "text": "\udcff\n"} for index in range(4)]


def filled(tmp_path, rows=ROWS):
    with Journal(tmp_path, fresh=True) as journal:
        for row in rows:
            journal.append(row)


def test_rows_come_back(tmp_path):
    filled(tmp_path)
    with Journal(tmp_path, fresh=False) as journal:
        assert [journal.row(row["name"]) for row in ROWS] == ROWS
        assert list(journal.names) == [row["name"] for row in ROWS]
        assert journal.row("none") is None
    with Journal(tmp_path, fresh=True) as journal:
        assert list(journal.names) == []


def test_the_manifest_has_the_order_that_is_asked_for(tmp_path):
    filled(tmp_path, ROWS[::-1])
    with Journal(tmp_path, fresh=False) as journal:
        journal.finish([row["name"] for row in ROWS[:2]] + ["none"] + [row["name"] for row in ROWS[2:]])
    assert os.listdir(tmp_path) == [MANIFEST]
    assert [json.loads(line) for line in (tmp_path / MANIFEST).read_text().splitlines()] == ROWS


def test_every_cut_leaves_the_whole_rows_before_it(tmp_path):
    filled(tmp_path)
    whole = (tmp_path / JOURNAL).read_bytes()
    for cut in range(0, len(whole), 11):
        (tmp_path / JOURNAL).write_bytes(whole[:cut])
        with Journal(tmp_path, fresh=False) as journal:
            names = list(journal.names)
            assert len(names) == whole[:cut].count(b"\n")
            for row in ROWS[len(names) :]:
                journal.append(row)
        assert (tmp_path / JOURNAL).read_bytes() == whole


def test_a_finished_run_goes_on(tmp_path):
    filled(tmp_path, ROWS[:3])
    with Journal(tmp_path, fresh=False) as journal:
        journal.finish(row["name"] for row in ROWS)
    with Journal(tmp_path, fresh=False) as journal:
        journal.append(ROWS[3])
        journal.finish(row["name"] for row in ROWS)
    assert (tmp_path / MANIFEST).read_bytes() == b"".join(map(row_line, ROWS))


@pytest.mark.parametrize("room", [0, 1, 30])
def test_a_full_disk_adds_nothing(tmp_path, monkeypatch, full_disk, room):
    with Journal(tmp_path, fresh=True) as journal:
        journal.append(ROWS[0])
        full_disk(room)
        with pytest.raises(ImageError, match="No space left"):
            journal.append(ROWS[1])
        monkeypatch.undo()
        assert (tmp_path / JOURNAL).read_bytes() == row_line(ROWS[0])
        journal.append(ROWS[2])
    assert (tmp_path / JOURNAL).read_bytes() == row_line(ROWS[0]) + row_line(ROWS[2])


def test_what_is_no_row_ends_it(tmp_path):
    (tmp_path / JOURNAL).write_bytes(row_line(ROWS[0]) + b'{"name": 3}\n' + row_line(ROWS[1]))
    with Journal(tmp_path, fresh=False) as journal:
        assert list(journal.names) == [ROWS[0]["name"]]
