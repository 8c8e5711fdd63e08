"""Whole runs: the same bytes whatever the workers, the order, and where a run was stopped."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

from lqhq.runtime.errors import EngineError, ImageError, OptionError
from lqhq.runtime.image_file import read_image
from lqhq.runtime.synthesis import pair as pair_file
from lqhq.runtime.synthesis import pair_check, pair_key
from lqhq.runtime.synthesis.run import make_pairs
from lqhq.runtime.synthesis.settings import SETTINGS
from lqhq.runtime.synthesis.sources import find_sources

LAYOUTS = {"folder": {}, "folder with hq": {"with_hq": True}, "shards": {"with_hq": True, "shard_bytes": 20_480}}
PLACES = [
    *("lq/a_0.png", "lq/a_1.png", "lq/b_v2_0.png", "lq/b_v2_1.png", "lq/sub/c_0.png", "lq/sub/c_1.png"),
    *("manifest.jsonl", SETTINGS),
]


def contents(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def rows(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


class StoppedError(Exception):
    """Stands in for a kill."""


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return LAYOUTS[request.param]


@pytest.fixture
def whole(tmp_path, recipe, sources, layout):
    """What a run that nothing disturbs leaves."""
    make_pairs(recipe(**layout), sources, tmp_path / "whole")
    return contents(tmp_path / "whole")


def test_a_folder(tmp_path, recipe, sources):
    told = []
    outcomes = make_pairs(recipe(), sources, tmp_path / "out", listen=lambda *words: told.append(words))
    assert [(one.status, one.made, one.kept) for one in outcomes] == [("done", 2, 0)] * 3
    assert sorted(contents(tmp_path / "out")) == PLACES
    assert told == [(f"{source.name}_{k}", 2 * i + k + 1, 6) for i, source in enumerate(sources) for k in range(2)]
    for row, (name, _, _) in zip(rows(tmp_path / "out"), told, strict=True):
        assert (row["name"], row["lq"], row["hq"]) == (name, f"lq/{name}.png", None)
        assert read_image(tmp_path / "out" / row["lq"]).pixels.shape == (10, 12, 3)


def test_hq_is_cut_to_whole_lq_pixels(tmp_path, recipe, sources):
    make_pairs(recipe(with_hq=True), sources, tmp_path / "out")
    for source in sources:
        kept = read_image(tmp_path / "out" / "hq" / f"{source.name}.png").pixels
        assert np.array_equal(kept, read_image(source.path).pixels[:40, :48])


def test_shards_hold_what_the_folder_holds(tmp_path, recipe, sources):
    make_pairs(recipe(with_hq=True), sources, tmp_path / "folder")
    make_pairs(recipe(with_hq=True, shard_bytes=20_480), sources, tmp_path / "shards")
    shards = sorted(path.name for path in (tmp_path / "shards").glob("*.tar"))
    assert shards == [f"pairs-{number:06d}.tar" for number in range(len(shards))]
    assert len(shards) > 1
    members: dict[str, bytes] = {}
    for shard in shards:
        assert (tmp_path / "shards" / shard).stat().st_size <= 20_480
        with tarfile.open(tmp_path / "shards" / shard) as tar:
            members |= {member.name: tar.extractfile(member).read() for member in tar}
    for row, other in zip(rows(tmp_path / "folder"), rows(tmp_path / "shards"), strict=True):
        name = row["name"]
        assert members[f"{name}.lq.png"] == (tmp_path / "folder" / row.pop("lq")).read_bytes()
        assert members[f"{name}.hq.png"] == (tmp_path / "folder" / row.pop("hq")).read_bytes()
        assert other.pop("shard") in shards
        assert json.loads(members[f"{name}.json"]) == row == other
    assert len(members) == 18


def test_a_shard_takes_one_sample_at_least(tmp_path, recipe, sources):
    make_pairs(recipe(shard_bytes=1), sources, tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.tar"))) == 6


@pytest.mark.parametrize("layout", ["folder with hq", "shards"], indirect=False)
def test_two_workers_give_the_same_bytes(tmp_path, recipe, sources, layout):
    for count in (1, 2):
        make_pairs(recipe(**LAYOUTS[layout]), sources, tmp_path / str(count), workers=count)
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_the_order_of_the_images_changes_no_pair(tmp_path, recipe, photos):
    names = [str(photos / name) for name in ("a.png", "b.v2.png", "sub/c.png")]
    found = []
    for index, order in enumerate((names, names[::-1])):
        sources = find_sources(order, tmp_path / "out", dotless=False)
        make_pairs(recipe(), sources, tmp_path / str(index))
        found.append(rows(tmp_path / str(index)))
        assert [row["source"] for row in found[-1]][::2] == [Path(name).name for name in order]
    assert sorted(found[0], key=str) == sorted(found[1], key=str)
    for row in found[0]:
        assert (tmp_path / "0" / row["lq"]).read_bytes() == (tmp_path / "1" / row["lq"]).read_bytes()


def test_names_and_neighbours_change_no_pair(tmp_path, recipe, photos):
    shutil.copy(photos / "sub/c.png", photos / "0.png")
    make_pairs(recipe(), find_sources([str(photos)], tmp_path / "out", dotless=False), tmp_path / "out")
    assert (tmp_path / "out/lq/0_1.png").read_bytes() == (tmp_path / "out/lq/sub/c_1.png").read_bytes()
    assert (tmp_path / "out/lq/0_1.png").read_bytes() != (tmp_path / "out/lq/0_0.png").read_bytes()


@pytest.mark.parametrize("after", range(6))
def test_stopped_after_any_pair_and_resumed(tmp_path, recipe, sources, layout, whole, after):
    def stop(name, done, total):
        if done == after + 1:
            raise StoppedError

    with pytest.raises(StoppedError):
        make_pairs(recipe(**layout), sources, tmp_path / "out", listen=stop)
    assert "manifest.jsonl" not in contents(tmp_path / "out")
    told = []
    outcomes = make_pairs(
        recipe(**layout), sources, tmp_path / "out", resume=True, listen=lambda *words: told.append(words)
    )
    assert sum(one.kept for one in outcomes) == after + 1
    assert len(told) == 5 - after
    assert contents(tmp_path / "out") == whole


@pytest.mark.parametrize("room", [0, 100, 900, 1500, 5000, 9000])
def test_a_full_disk_leaves_whole_files_and_can_be_resumed(
    tmp_path, recipe, sources, layout, whole, monkeypatch, full_disk, room
):
    full_disk(room)
    with pytest.raises(ImageError, match="No space left on device"):
        make_pairs(recipe(**layout), sources, tmp_path / "out")
    monkeypatch.undo()
    there = {name: data for name, data in contents(tmp_path / "out").items() if not name.startswith(".")}
    assert there.items() <= whole.items()
    make_pairs(recipe(**layout), sources, tmp_path / "out", resume=True)
    assert contents(tmp_path / "out") == whole


def test_a_finished_run_is_kept(tmp_path, recipe, sources, layout, whole, monkeypatch):
    monkeypatch.setattr(pair_file.Maker, "__call__", lambda *_: pytest.fail("made again"))
    outcomes = make_pairs(recipe(**layout), sources, tmp_path / "whole", resume=True)
    assert [(one.status, one.kept) for one in outcomes] == [("skipped", 2)] * 3
    assert contents(tmp_path / "whole") == whole


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
@pytest.mark.parametrize("name", ["lq/b_v2_1.png", "hq/b_v2.png"])
def test_damaged_files_are_made_again(tmp_path, recipe, sources, name, damage):
    make_pairs(recipe(with_hq=True), sources, tmp_path / "out")
    whole, target = contents(tmp_path / "out"), tmp_path / "out" / name
    data = {"cut": whole[name][:-1], "changed": whole[name][:-1] + b"x", "gone": None}[damage]
    target.unlink() if data is None else target.write_bytes(data)
    outcomes = make_pairs(recipe(with_hq=True), sources, tmp_path / "out", resume=True)
    assert sum(one.made for one in outcomes) == (1 if name.startswith("lq") else 2)
    assert contents(tmp_path / "out") == whole


def test_a_changed_image_is_made_again_in_a_folder(tmp_path, recipe, sources):
    make_pairs(recipe(), sources, tmp_path / "out")
    shutil.copy(sources[0].path, sources[1].path)
    outcomes = make_pairs(recipe(), sources, tmp_path / "out", resume=True)
    assert [(one.made, one.kept) for one in outcomes] == [(0, 2), (2, 0), (0, 2)]
    make_pairs(recipe(), sources, tmp_path / "fresh")
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_a_changed_image_stops_shards(tmp_path, recipe, sources):
    chosen = recipe(shard_bytes=20_480)
    make_pairs(chosen, sources, tmp_path / "out")
    shutil.copy(sources[0].path, sources[1].path)
    with pytest.raises(ImageError, match="another content than that of the pair in pairs-"):
        make_pairs(chosen, sources, tmp_path / "out", resume=True)


@pytest.mark.parametrize("cut", [1, 5_000, 10_240])
def test_a_damaged_shard_is_told_and_comes_out_the_same(tmp_path, recipe, sources, cut):
    chosen = recipe(**LAYOUTS["shards"])
    make_pairs(chosen, sources, tmp_path / "out")
    whole = contents(tmp_path / "out")
    first = tmp_path / "out/pairs-000000.tar"
    first.write_bytes(whole[first.name][:-cut])
    with pytest.raises(ImageError, match="Delete it and those after it"):
        make_pairs(chosen, sources, tmp_path / "out", resume=True)
    for shard in (tmp_path / "out").glob("*.tar"):
        shard.unlink()
    make_pairs(chosen, sources, tmp_path / "out", resume=True)
    assert contents(tmp_path / "out") == whole


def test_a_bad_image_is_noted_and_skipped(tmp_path, recipe, sources, layout, whole):
    data = sources[1].path.read_bytes()
    sources[1].path.write_bytes(b"planted fault")
    outcomes = make_pairs(recipe(**layout), sources, tmp_path / "out")
    assert [(one.status, one.made) for one in outcomes] == [("done", 2), ("failed", 0), ("done", 2)]
    assert str(outcomes[1].error).startswith(f"{sources[1].path}: found")
    assert [row["source"] for row in rows(tmp_path / "out")] == ["a.png"] * 2 + ["sub/c.png"] * 2
    sources[1].path.write_bytes(data)
    outcomes = make_pairs(recipe(**layout), sources, tmp_path / "out", resume=True)
    if "shard_bytes" in layout:  # what is in shards stays where it is
        assert [(one.status, one.kept) for one in outcomes] == [("skipped", 2), ("failed", 0), ("skipped", 2)]
        assert "another -o" in str(outcomes[1].error)
    else:
        assert [(one.status, one.made) for one in outcomes] == [("skipped", 0), ("done", 2), ("skipped", 0)]
        assert contents(tmp_path / "out") == whole


def test_nothing_but_bad_images(tmp_path, recipe, sources, layout):
    for source in sources:
        source.path.write_bytes(b"planted fault")
    make_pairs(recipe(**layout), sources, tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == ["manifest.jsonl", SETTINGS]
    assert rows(tmp_path / "out") == []


@pytest.mark.parametrize("fields", [{"seed": 1}, {"count": 3}, {"with_hq": True}, {"degradation": "none"}])
def test_other_settings_are_not_mixed_in(tmp_path, recipe, sources, fields):
    make_pairs(recipe(), sources, tmp_path / "out")
    whole = contents(tmp_path / "out")
    with pytest.raises(OptionError, match=f"made with {next(iter(fields))}"):
        make_pairs(recipe(**fields), sources, tmp_path / "out", resume=True)
    assert contents(tmp_path / "out") == whole


@pytest.mark.parametrize("name", ["noise_seed", "strength_share"])
def test_a_planted_worker_with_another_seed_is_noticed(tmp_path, recipe, sources, monkeypatch, name):
    monkeypatch.setattr(pair_file, name, lambda key: getattr(pair_key, name)(key[::-1]))
    with pytest.raises(EngineError, match="another pair than a_0"):
        make_pairs(recipe(), sources, tmp_path / "out")
    assert sorted(contents(tmp_path / "out")) == [".manifest.jsonl.part", SETTINGS]


def test_the_same_seed_checked_by_nobody_changes_the_bytes(tmp_path, recipe, sources, monkeypatch):
    """The comparisons above would see it: noise of another seed is in every file."""
    make_pairs(recipe(), sources, tmp_path / "right")
    wrong = lambda key: pair_key.noise_seed(key) ^ 1  # noqa: E731
    monkeypatch.setattr(pair_file, "noise_seed", wrong)
    monkeypatch.setattr(pair_check, "noise_seed", wrong)
    make_pairs(recipe(), sources, tmp_path / "wrong")
    right, wrong_ones = contents(tmp_path / "right"), contents(tmp_path / "wrong")
    assert [name for name in right if right[name] == wrong_ones[name]] == [SETTINGS]
