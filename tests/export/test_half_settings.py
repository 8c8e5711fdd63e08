"""The plan's file: what it may hold, what it says of anything else, and that it is written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from torch import nn

from lqhq.export import half_settings
from lqhq.export.half_settings import HalfSettings, IslandPlan, read_plan, write_plan
from lqhq.export.validate import Photo
from lqhq.runtime.errors import OptionError

PLAN = IslandPlan(precision="fp16", islands={"denoise": ("body.0", "tail"), "encode": ("",)}, psnr=52.1)
IMAGE = np.zeros((4, 4, 3), np.uint8)
HOLE = np.zeros((4, 4), np.uint8)


def test_a_plan_comes_back_as_it_was(tmp_path):
    write_plan(PLAN, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == PLAN
    told = json.loads((tmp_path / "plan.json").read_text())
    assert (told["format"], told["version"]) == ("lqhq-precision-plan", 1)
    other = IslandPlan(precision="bf16", islands={"decode": ()}, psnr=40)
    write_plan(other, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == other
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "other"}, r"\$\.format"),
        ({"version": 2}, r"\$\.version"),
        ({"precision": "fp32"}, r"\$\.precision"),
        ({"islands": {}}, r"length >= 1.*\$\.islands"),
        ({"islands": {"gan": []}}, "Invalid enum value 'gan'"),
        ({"islands": {"denoise": "body"}}, r"Expected `array`"),
        ({"islands": {"denoise": [1]}}, "Expected `str`"),
        ({"psnr": "50"}, r"\$\.psnr"),
        ({"psnr": None}, "missing required field `psnr`"),
        ({"extra": 1}, "unknown field `extra`"),
    ],
)
def test_anything_else_is_refused_with_its_place(tmp_path, changes, words):
    told = {"format": "lqhq-precision-plan", "version": 1, "precision": "fp16", "islands": {"denoise": []}, "psnr": 50}
    told = {key: value for key, value in (told | changes).items() if value is not None}
    (tmp_path / "plan.json").write_text(json.dumps(told))
    with pytest.raises(OptionError, match=words) as caught:
        read_plan(tmp_path / "plan.json")
    assert "lqhq parity --bisect-precision" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"psnr": "\xff"}'])
def test_what_is_no_json_is_refused(tmp_path, content):
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(OptionError, match="--precision-plan"):
        read_plan(tmp_path / "plan.json")


def test_a_missing_file_a_folder_and_a_huge_file_are_refused(tmp_path, monkeypatch):
    with pytest.raises(OptionError, match="No such file"):
        read_plan(tmp_path / "absent.json")
    with pytest.raises(OptionError, match="directory"):
        read_plan(tmp_path)
    write_plan(PLAN, tmp_path / "plan.json")
    monkeypatch.setattr(half_settings, "MAX_BYTES", 100)
    with pytest.raises(OptionError, match="more than 100 bytes"):
        read_plan(tmp_path / "plan.json")


@pytest.mark.parametrize("name", ["absent/plan.json", "file/plan.json", "folder", "x" * 300, "."])
def test_where_it_cannot_be_written_is_told_and_leaves_nothing(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match="expected to write there"):
        write_plan(PLAN, Path(name))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def recipe(*, masked: bool) -> Any:
    """What is looked at: one role, `denoise`, of a network with one layer, `0`."""
    graph = SimpleNamespace(role="denoise", half_form=lambda: nn.Sequential(nn.Linear(2, 2)))
    return SimpleNamespace(masked=masked, graphs=(graph,))


@pytest.mark.parametrize(
    ("islands", "words"),
    [
        ({"denoise": ("1",)}, "found an island '1'"),
        ({"decode": ()}, "islands of decode for fp16; expected those of denoise"),
        ({"denoise": (), "encode": ()}, "islands of denoise, encode"),
    ],
)
def test_a_plan_of_another_network_is_refused_before_anything_is_done(islands, words):
    own = IslandPlan(precision="fp16", islands={"denoise": ("0",)}, psnr=60.0)
    HalfSettings(plans={"fp16": own}).check(recipe(masked=False))
    other = IslandPlan(precision="fp16", islands=islands, psnr=60.0)
    with pytest.raises(OptionError, match=words):
        HalfSettings(plans={"fp16": other}).check(recipe(masked=False))


def test_photos_must_have_a_mask_exactly_where_the_network_takes_one():
    with_hole, without = {"a.png": Photo(IMAGE, HOLE)}, {"b.png": Photo(IMAGE)}
    HalfSettings(photos=with_hole).check(recipe(masked=True))
    HalfSettings(photos=without).check(recipe(masked=False))
    for masked in (True, False):
        HalfSettings().check(recipe(masked=masked))
    with pytest.raises(OptionError, match=r"--image b\.png: found no mask; expected a mask: .*Give a --mask"):
        HalfSettings(photos=without).check(recipe(masked=True))
    with pytest.raises(OptionError, match=r"--image a\.png: found a mask; expected none: .*Leave --mask out"):
        HalfSettings(photos=without | with_hole).check(recipe(masked=False))
