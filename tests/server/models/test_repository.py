"""Where bundles are found, and that nothing outside the folder is."""

from __future__ import annotations

from pathlib import Path

import pytest

from lqhq.runtime.errors import BundleError, OptionError
from lqhq.server.models.repository import Repository
from lqhq.server.v2.errors import UnknownModelError


def bundle(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    return folder


def test_bundles_of_the_command_line_have_names(tmp_path):
    repository = Repository(["demo", f"old=/a=b/{tmp_path.name}", str(tmp_path / "plain")], None)
    assert repository.listed().named == ("demo", "old", "plain")
    assert repository.find("demo").source == "demo"
    assert repository.find("old").source == f"/a=b/{tmp_path.name}"
    assert repository.find("plain").number is None


@pytest.mark.parametrize("text", ["a/b=x", "=x", "a=", "", ".hidden=x", "/", "n\n=x", "x" * 129 + "=y"])
def test_wrong_names_are_refused(text):
    with pytest.raises(OptionError, match="NAME=PATH"):
        Repository([text], None)


def test_one_name_twice_is_refused():
    with pytest.raises(OptionError, match="twice"):
        Repository(["demo", "demo=other"], None)


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_that_is_none_is_refused(tmp_path, there):
    if there:
        (tmp_path / "models").touch()
    with pytest.raises(OptionError, match="model_dir"):
        Repository([], tmp_path / "models")


def test_the_newest_whole_number_with_a_manifest_is_taken(tmp_path):
    for name in ("1", "2", "10", "010", "x"):
        bundle(tmp_path / "faces" / name)
    (tmp_path / "faces" / "11").mkdir()  # it is being copied
    place = Repository([], tmp_path).find("faces")
    assert (place.source, place.number) == (str(tmp_path / "faces" / "10"), 10)


def test_a_plain_folder_has_no_number(tmp_path):
    bundle(tmp_path / "faces")
    bundle(tmp_path / "faces" / "7")
    assert Repository([], tmp_path).find("faces")[1:3] == (str(tmp_path / "faces"), None)


def test_folders_are_listed_and_odd_names_told(tmp_path):
    for name in ("b", "a", ".git", "with space", "demo"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").touch()
    listed = Repository(["demo"], tmp_path).listed()
    assert (listed.named, listed.found) == (("demo",), ("a", "b"))  # the command line's hides the folder's
    assert listed.odd == ("with space",)


@pytest.mark.parametrize("name", ["..", ".", "", "a/../../b", "/etc", "nothing", "file", "a\0b", "x" * 5000])
def test_names_that_are_not_there_are_not_found(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(UnknownModelError):
        Repository([], tmp_path).find(name)


@pytest.mark.parametrize("inner", [False, True])
def test_links_that_leave_the_folder_are_refused(tmp_path, inner):
    outside, models = bundle(tmp_path / "outside"), tmp_path / "models"
    (models / "faces").mkdir(parents=True)
    if inner:
        (models / "faces" / "3").symlink_to(outside)
    else:
        (models / "faces").rmdir()
        (models / "faces").symlink_to(outside)
    with pytest.raises(BundleError, match="leaves"):
        Repository([], models).find("faces").check()


def test_links_inside_the_folder_are_taken(tmp_path):
    bundle(tmp_path / "faces-2")
    (tmp_path / "faces").symlink_to(tmp_path / "faces-2")
    Repository([], tmp_path).find("faces").check()
