"""Which files are ours, and that a file is written whole or not at all."""

from __future__ import annotations

from typing import get_args

import pytest

from lqhq.runtime.engine_cache import names
from lqhq.runtime.engine_cache.key import slot_of
from lqhq.runtime.engine_cache.names import engine_name, engines_of, read_folder, write_whole
from lqhq.runtime.errors import EngineError, LimitError
from lqhq.runtime.manifest import Role
from lqhq.runtime.precision import Precision

SLOT = "demo.denoise.fp16.tensorrt-rtx.0123456789abcdef"
FOREIGN = (
    *("model.engine", "demo.engine", f"{SLOT}", f"{SLOT}.txt", f"{SLOT}.json.bak", f" {SLOT}.json", f"{SLOT}.json\n"),
    *("demo.denoise.fp8.tensorrt.0123456789abcdef.json", "demo.denoise.fp16.onnx.0123456789abcdef.json"),
    *("Demo.denoise.fp16.tensorrt.0123456789abcdef.json", "demo.denoise.fp16.tensorrt.0123456789abcde.json"),
    *("other.tensorrt.11.4.0123456789abcdef.side", "timing.tensorrt.11.4.side", "notes.part"),
)


def test_only_our_names_are_ours(tmp_path):
    engine = engine_name(SLOT, "f" * 64)
    ours = [f"{SLOT}.json", f"{SLOT}.old.json", f"{SLOT}.lock", engine, f"{SLOT}.01234567.part"]
    sides = ["timing.tensorrt.11.4.0.106.0123456789abcdef.side", "kernels.tensorrt-rtx.1.7.0123456789abcdef.side"]
    for name in (*ours, *sides, f"{sides[0]}.01234567.part", *FOREIGN):
        (tmp_path / name).write_text("12")
    found = read_folder(tmp_path)
    assert list(found.slots) == [SLOT]
    slot = found.slots[SLOT]
    assert (slot.bundle, slot.flavour) == ("demo", "tensorrt-rtx")
    assert (slot.engines, slot.parts) == ({engine: 2}, {f"{SLOT}.01234567.part": 2})
    assert set(slot.records) == {f"{SLOT}.json", f"{SLOT}.old.json"}
    assert found.sides == {sides[0]: ("tensorrt", "11.4.0.106", 2), sides[1]: ("tensorrt-rtx", "1.7", 2)}
    assert set(found.side_parts) == {f"{sides[0]}.01234567.part"}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_name_alone_is_nothing(tmp_path, name):
    (tmp_path / name).write_text("12")
    assert read_folder(tmp_path) == names.FolderFiles()


def test_links_and_folders_are_passed_over(tmp_path):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / f"{SLOT}.json").symlink_to(tmp_path / "precious")
    (tmp_path / engine_name(SLOT, "f" * 64)).mkdir()
    assert read_folder(tmp_path).slots == {}


def test_a_bundle_named_like_a_slot(tmp_path, key):
    import msgspec

    slot = slot_of(msgspec.structs.replace(key, bundle="a.denoise.fp16.tensorrt.b"))
    (tmp_path / f"{slot}.json").write_text("")
    assert read_folder(tmp_path).slots[slot].bundle == "a.denoise.fp16.tensorrt.b"


@pytest.mark.parametrize("role", get_args(Role))
@pytest.mark.parametrize("precision", get_args(Precision))
def test_engines_of_every_role_are_ours(tmp_path, key, role, precision):
    import msgspec

    slot = slot_of(msgspec.structs.replace(key, role=role, precision=precision))
    write_whole(tmp_path / engine_name(slot, "f" * 64), b"12", slot)
    assert engines_of(tmp_path, slot)
    assert list(read_folder(tmp_path).slots) == [slot]


def test_no_folder_is_an_empty_one(tmp_path):
    assert read_folder(tmp_path / "none").slots == {}
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="Not a directory"):
        read_folder(tmp_path / "file")


def test_a_folder_that_is_no_cache_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(names, "MAX_FILES", 3)
    for name in "abc":
        (tmp_path / name).touch()
    read_folder(tmp_path)
    (tmp_path / "d").touch()
    with pytest.raises(LimitError, match="more than 3 files"):
        read_folder(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_no_part(tmp_path):
    target = tmp_path / "a.json"
    write_whole(target, b"old", SLOT)
    with pytest.raises(TypeError):
        write_whole(target, "text", SLOT)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_whole(tmp_path / "folder", b"x", SLOT)
    assert target.read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", "folder"}
