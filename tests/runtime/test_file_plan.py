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
    return [(str(source), str(target)) for source, target, _ in plan_files(inputs, output, SUFFIXES)]


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
    with pytest.raises(OptionError, match="an input itself"):
        pairs(["in/a.png"], "in")


def test_one_result_cannot_replace_another_input(tree):
    with pytest.raises(OptionError, match="an input itself"):
        pairs(["in/sub/a.png", "in"], "in")


@pytest.mark.parametrize(("inputs", "output"), [([""], "out"), (["in/a.png", ""], "out"), (["in"], "")])
def test_an_empty_name_never_means_this_folder(tree, inputs, output):
    with pytest.raises(OptionError, match="found an empty name"):
        pairs(inputs, output)


def test_a_name_that_is_too_long_is_no_folder_and_no_traceback(tree):
    long = "x" * 300
    assert pairs([long], "out") == [(long, f"out/{long}")]
    assert pairs(["in/a.png"], f"{long}.png") == [("in/a.png", f"{long}.png")]
    with pytest.raises(OptionError, match="found no image"):
        pairs([f"{long}*"], "out")


@pytest.mark.parametrize("inputs", [["in"], ["in/sub"], ["in/sub/c*.png"], ["in/a.png", "in/sub/c.png"]])
def test_the_name_of_one_image_is_refused_for_what_may_be_several(tree, inputs):
    with pytest.raises(OptionError, match="put a slash after it"):
        pairs(inputs, "x.png")
    assert {Path(target).parent.parts[0] for _, target in pairs(inputs, "x.png/")} == {"x.png"}
    (tree / "x.png").mkdir()
    assert {Path(target).parent.parts[0] for _, target in pairs(inputs, "x.png")} == {"x.png"}


def test_a_pattern_is_told_from_a_file_whose_name_looks_like_one(tree):
    (tree / "in" / "[1].png").write_bytes(b"x")
    assert pairs(["in/[1].png"], "x.png") == [("in/[1].png", "x.png")]


@pytest.mark.parametrize("text", ["in", "."])
@pytest.mark.parametrize("output", ["in/out", "in/sub/../out/"])
def test_the_output_folder_is_no_source(tree, text, output):
    """Planted fault: results of an earlier run, which a search that ignores the output folder would find."""
    first = pairs([text], output)
    for name in ("a.png", "sub/c.png", "sub/a.png"):
        path = tree / "in" / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    assert len(pairs([text], "elsewhere")) == len(first) + 3
    assert pairs([text], output) == first


def test_a_pattern_leaves_the_output_folder_out_too(tree):
    (tree / "in/sub/a.png").unlink()
    first = pairs(["in/**/*.png"], "in/out")
    (tree / "in" / "out").mkdir()
    (tree / "in" / "out" / "late.png").write_bytes(b"x")
    assert pairs(["in/**/*.png"], "in/out") == first
    assert len(pairs(["in/**/*.png"], "elsewhere")) == len(first) + 1


def test_a_folder_that_is_its_own_output_is_refused(tree):
    with pytest.raises(OptionError, match="an input itself"):
        pairs(["in"], "in")


def test_masks_inside_a_searched_folder_are_no_images_and_places_are_told(tree):
    found = plan_files(["in"], "out", SUFFIXES, beside="in/sub")
    assert {str(pair.relative) for pair in found} == {
        str(pair.relative) for pair in plan_files(["in"], "out", SUFFIXES) if "sub" not in str(pair.relative)
    }
    assert all(pair.source == Path("in") / pair.relative for pair in found)
    assert plan_files(["in/a.png"], "x.png", SUFFIXES)[0].relative == Path("a.png")
