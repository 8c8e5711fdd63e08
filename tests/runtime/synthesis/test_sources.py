"""Which images, in which order, and what their pairs are called."""

from __future__ import annotations

import pytest

from lqhq.runtime.errors import OptionError
from lqhq.runtime.synthesis.sources import find_sources, names_digest


def touched(tmp_path, *names):
    for name in names:
        (tmp_path / "hq" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "hq" / name).touch()
    return str(tmp_path / "hq")


def test_names_keep_folders_and_lose_suffixes(tmp_path):
    folder = touched(tmp_path, "b.png", "a.v2.JPG", "sub/c.tif", "notes.txt", ".hidden.png")
    found = find_sources([folder], tmp_path / "out", dotless=False)
    assert [source.name for source in found] == ["a.v2", "b", "sub/c"]
    assert [source.relative for source in found] == ["a.v2.JPG", "b.png", "sub/c.tif"]
    assert found[2].pair(3) == "sub/c_3"
    assert [source.name for source in find_sources([folder], tmp_path / "out", dotless=True)] == ["a_v2", "b", "sub/c"]


def test_results_inside_the_folder_are_left_out(tmp_path):
    folder = touched(tmp_path, "a.png", "out/lq/a_0.png", "out.d/b.png")
    assert [source.name for source in find_sources([folder], tmp_path / "hq/out", dotless=False)] == ["a", "out.d/b"]


def test_a_folder_with_a_dot_in_its_name_is_an_output(tmp_path):
    folder = touched(tmp_path, "a.png")
    assert len(find_sources([f"{folder}/a.png"], tmp_path / "pairs.png", dotless=False)) == 1


@pytest.mark.parametrize(("names", "dotless"), [(("a.png", "a.jpg"), False), (("a.b.png", "a_b.png"), True)])
def test_two_files_of_one_name_are_refused(tmp_path, names, dotless):
    folder = touched(tmp_path, *names)
    with pytest.raises(OptionError, match=f"{min(names)} and {max(names)}"):
        find_sources([folder], tmp_path / "out", dotless=dotless)
    if dotless:
        assert len(find_sources([folder], tmp_path / "out", dotless=False)) == 2


def test_the_digest_tells_names_and_order_but_not_places(tmp_path):
    folder = touched(tmp_path, "a.png", "b.png")
    one = find_sources([folder], tmp_path / "out", dotless=False)
    (tmp_path / "hq").rename(tmp_path / "moved")
    moved = find_sources([str(tmp_path / "moved")], tmp_path / "out", dotless=False)
    assert names_digest(one) == names_digest(moved)
    assert len({names_digest(some) for some in (one, one[::-1], one[:1])}) == 3
