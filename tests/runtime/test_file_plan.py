"""Inputs and outputs of a batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from lqhq.runtime.errors import OptionError
from lqhq.runtime.file_plan import plan_files

SUFFIXES = (".png", ".jpg")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.png", "b.JPG", "notes.txt", "sub/c.png", "sub/a.png", ".hidden/d.png"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pairs(inputs: list[str], output: str) -> list[tuple[str, str]]:
    return [(str(source), str(target)) for source, target in plan_files(inputs, output, SUFFIXES)]


def test_one_file_to_a_file_or_into_a_folder(tree):
    assert pairs(["in/a.png"], "x.jpg") == [("in/a.png", "x.jpg")]
    assert pairs(["in/a.png"], "out") == [("in/a.png", "out/a.png")]


def test_a_result_of_an_unknown_kind_is_refused_and_a_slash_means_a_folder(tree):
    with pytest.raises(OptionError, match=r"found suffix '\.gif'"):
        pairs(["in/a.png"], "x.gif")
    assert pairs(["in/a.png"], "out.v2/") == [("in/a.png", "out.v2/a.png")]


def test_a_folder_keeps_its_names_and_subfolders(tree):
    assert pairs(["in"], "out") == [
        ("in/a.png", "out/a.png"),
        ("in/b.JPG", "out/b.JPG"),
        ("in/sub/a.png", "out/sub/a.png"),
        ("in/sub/c.png", "out/sub/c.png"),
    ]


def test_patterns_are_expanded_and_sorted(tree):
    assert [source for source, _ in pairs(["in/*.png", "in/sub/c.png"], "out")] == ["in/a.png", "in/sub/c.png"]


def test_a_missing_file_stays_in_the_list_to_be_reported(tree):
    assert pairs(["in/a.png", "in/gone.png"], "out")[1] == ("in/gone.png", "out/gone.png")


@pytest.mark.parametrize("text", ["in/*.tif", "empty"])
def test_an_input_that_matches_nothing_is_an_error(tree, text):
    (tree / "empty").mkdir()
    with pytest.raises(OptionError, match="found no image"):
        pairs([text], "out")


def test_two_results_of_one_name_are_refused(tree):
    with pytest.raises(OptionError, match="two inputs"):
        pairs(["in/a.png", "in/sub/a.png"], "out")


def test_a_result_never_replaces_its_input(tree):
    with pytest.raises(OptionError, match="the input itself"):
        pairs(["in/a.png"], "in")
