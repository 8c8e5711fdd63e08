"""Opening bundles that nobody vouches for, and writing them whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lqhq.runtime import bundle as bundle_module
from lqhq.runtime import bundle_files
from lqhq.runtime import manifest as m
from lqhq.runtime.bundle import file_records, open_bundle, read_manifest, staging, write_manifest
from lqhq.runtime.errors import BundleError, LqhqError

Build = Callable[..., Path]
GRAPH = "graphs/denoise.fp32.onnx"


def opened(folder: Path) -> bundle_module.Bundle:
    return open_bundle(folder, verified=None)


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change the manifest's plain JSON in place."""
    file = folder / "manifest.json"
    fields = json.loads(file.read_bytes())
    change(fields)
    file.write_text(json.dumps(fields))
    return folder


@pytest.mark.parametrize("scale", [1, 4])
@pytest.mark.parametrize("external", [False, True])
def test_a_whole_bundle_opens(tiny_bundle: Build, scale: int, external: bool) -> None:
    folder = tiny_bundle(scale=scale, external=external)
    found = opened(folder)
    assert found.folder == folder.resolve()
    assert found.manifest.scale == scale
    assert found.path(GRAPH).is_file()
    with pytest.raises(BundleError, match="a file of the bundle"):
        found.path("manifest.json")


def test_names_of_bundles(tiny_bundle: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    demo = tiny_bundle("demo", name="in-this-folder")
    monkeypatch.setitem(bundle_module.SHIPPED, "demo", tiny_bundle("shipped", name="shipped"))
    assert open_bundle("demo", verified=None).manifest.name == "shipped"
    assert open_bundle("./demo", verified=None).manifest.name == "in-this-folder"
    for source, said in {
        demo / "manifest.json": "Give the folder that holds it",
        demo / GRAPH: "found a file",
        tmp_path / "none": "found nothing there",
        demo / "graphs": "manifest.json: found no readable file",
        "x" * 5000: "found nothing there",
        "a\0b": "found nothing there",
        "": "'': found nothing there",
    }.items():
        with pytest.raises(BundleError, match=said):
            opened(source)


def test_the_bundles_own_folder_may_be_a_link(tiny_bundle: Build, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tiny_bundle())
    assert opened(tmp_path / "link").manifest.name == "tiny"


# Files


def linked_file(folder: Path) -> None:
    shutil.move(folder / GRAPH, folder.parent / "real.onnx")
    (folder / GRAPH).symlink_to(folder.parent / "real.onnx")


def linked_folder(folder: Path) -> None:
    shutil.move(folder / "graphs", folder.parent / "real")
    (folder / "graphs").symlink_to(folder.parent / "real")


def linked_manifest(folder: Path) -> None:
    shutil.move(folder / "manifest.json", folder.parent / "real.json")
    (folder / "manifest.json").symlink_to(folder.parent / "real.json")


def folder_for_file(folder: Path) -> None:
    (folder / GRAPH).unlink()
    (folder / GRAPH).mkdir()


def pipe(folder: Path) -> None:
    (folder / GRAPH).unlink()
    os.mkfifo(folder / GRAPH)


def one_bit(folder: Path) -> None:
    data = bytearray((folder / GRAPH).read_bytes())
    data[-1] ^= 1
    (folder / GRAPH).write_bytes(data)


def longer(folder: Path) -> None:
    with (folder / GRAPH).open("ab") as file:
        file.write(b"\0")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (linked_file, "a symbolic link at 'graphs/denoise"),
        (linked_folder, "a symbolic link at 'graphs'"),
        (linked_manifest, "a symbolic link at 'manifest.json'"),
        (folder_for_file, "a folder or a device"),
        (pipe, "a folder or a device"),
        (one_bit, "the content changed"),
        (longer, r"bytes; expected \d+ bytes"),
        (lambda folder: (folder / GRAPH).unlink(), "no readable file"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json: found no readable file"),
    ],
)
def test_wrong_files_are_refused(tiny_bundle: Build, damage: Callable[[Path], object], said: str) -> None:
    folder = tiny_bundle()
    damage(folder)
    with pytest.raises(BundleError, match=said):
        opened(folder)


def digest_is_checked(folder: Path) -> bool:
    """The suite's check: one changed bit, size unchanged, must keep a bundle from opening."""
    one_bit(folder)
    try:
        opened(folder)
    except BundleError as error:
        return "sha256" in error.found
    return False


def test_planted_fault_a_reader_without_digests_is_noticed(tiny_bundle: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    assert digest_is_checked(tiny_bundle("a"))
    monkeypatch.setattr(bundle_module, "check_digests", lambda *_: None)
    assert not digest_is_checked(tiny_bundle("b"))


# Paths and limits in the manifest


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("../evil.onnx", "a path that leaves the bundle's folder"),
        ("graphs/../../evil.onnx", "a path that leaves"),
        ("/etc/passwd", "an absolute path"),
        ("graphs\\..\\evil", "a path that leaves"),
        ("graphs//x", "a path that leaves"),
        ("./x", "a path that leaves"),
        (".hidden", r"matching regex.*\$\.files"),
    ],
)
def test_paths_that_leave_the_folder_are_refused(tiny_bundle: Build, path: str, said: str) -> None:
    record = {"sha256": "0" * 64, "bytes": 1}
    folder = edit(tiny_bundle("files"), lambda fields: fields["files"].update({path: record}))
    with pytest.raises(BundleError, match=said):
        opened(folder)


@pytest.mark.parametrize("key", ["file", "external_data"])
def test_graphs_cannot_name_files_outside(tiny_bundle: Build, key: str) -> None:
    value = "../evil.onnx" if key == "file" else ["../evil.onnx"]
    folder = edit(tiny_bundle(), lambda fields: fields["graphs"]["denoise"]["fp32"].update({key: value}))
    with pytest.raises(BundleError, match="leaves the bundle's folder"):
        opened(folder)


def test_too_many_bytes_and_files_are_refused(tiny_bundle: Build) -> None:
    def huge(fields: dict[str, Any]) -> None:
        fields["files"][GRAPH]["bytes"] = bundle_files.MAX_TOTAL_BYTES + 1

    def many(fields: dict[str, Any]) -> None:
        fields["files"].update({f"f{i}": {"sha256": "0" * 64, "bytes": 1} for i in range(600)})

    with pytest.raises(BundleError, match="bytes in all"):
        opened(edit(tiny_bundle("huge"), huge))
    with pytest.raises(BundleError, match=r"length <= 512.*files"):
        opened(edit(tiny_bundle("many"), many))


# The manifest's text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda fields: fields.pop("tiles"), "missing required field `tiles`"),
        (lambda fields: fields["tiles"].pop("multiple"), r"`multiple`.*\$\.tiles"),
        (lambda fields: fields.update(extra=1), "unknown field `extra`"),
        (lambda fields: fields["pixels"].update(gamma=2.2), r"unknown field `gamma`.*\$\.pixels"),
        (lambda fields: fields.update(version=2), "found version 2.*Update lqhq"),
        (lambda fields: fields.update(format="other"), "format 'other'"),
        (lambda fields: fields.update(scale="4"), r"Expected `int`.*\$\.scale"),
        (lambda fields: fields.update(default_schedule="none"), "default_schedule 'none'"),
        (
            lambda fields: fields.update(files={}),
            "names 'graphs/denoise.fp32.onnx', which is not|length >= 1",
        ),
        (lambda fields: fields["schedules"]["fast"]["rows"][0].update(c=[1, 1]), "schedules: rows"),
        (
            lambda fields: fields["graphs"]["denoise"]["fp32"]["inputs"]["state"].update(shape=["N", 1 << 40]),
            "65536",
        ),
    ],
)
def test_wrong_fields_are_named_by_path(
    tiny_bundle: Build, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    with pytest.raises(BundleError, match=said):
        opened(edit(tiny_bundle(), change))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "not JSON"),
        (b"GIF89a", "not JSON"),
        (b"\xff\xfe{\x00}\x00", "not JSON"),
        (b"[]", "manifest.json"),
        (b"null", "manifest.json"),
        (b"{" + b'"a":{' * 100_000, "nested too deep"),
        (b"[" * 1_000_000, "nested too deep"),
        (b'{"version": 1, "version": 1}', "'version' twice"),
        (b'{"memory": {"per_pixel": NaN}}', "the number NaN"),
        (b'{"memory": {"per_pixel": -Infinity}}', "the number -Infinity"),
        (b'{"version": ' + b"9" * 5000 + b"}", "not JSON"),
        (b'{"format": "lqhq-bundle", "version": 1, "scale": 1e999}', "out of range"),
        (b'{"a": 1}' + b" " * m.MAX_JSON_BYTES, "bytes; expected at most"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_texts_that_are_no_manifest_are_refused(tmp_path: Path, text: bytes, said: str) -> None:
    (tmp_path / "manifest.json").write_bytes(text)
    with pytest.raises(BundleError, match=said):
        read_manifest(tmp_path)


TOKENS = st.sampled_from(
    [b"{", b"]", b'"', b",", b"null", b"-1", b"1e400", b'"../x"', b"\xff", b"\\ud800", b"[" * 2000]
)
EDITS = st.lists(st.tuples(st.integers(0, 1 << 14), st.integers(0, 20), TOKENS), min_size=1, max_size=6)


def survives(folder: Path, data: bytes, edits: list[tuple[int, int, bytes]]) -> None:
    """Replace stretches of the text; reading must succeed or raise BundleError, nothing else."""
    for at, length, token in edits:
        at %= len(data) + 1
        data = data[:at] + token + data[at + length :]
    (folder / "manifest.json").write_bytes(data)
    with contextlib.suppress(BundleError):
        read_manifest(folder)


def fuzz(folder: Path, **setting: Any) -> None:
    data = (folder / "manifest.json").read_bytes()

    @settings(deadline=None, database=None, **setting)
    @given(EDITS)
    def run(edits: list[tuple[int, int, bytes]]) -> None:
        survives(folder, data, edits)

    run()


def test_mutated_manifests_never_raise_anything_else(tiny_bundle: Build) -> None:
    fuzz(tiny_bundle(scale=4), max_examples=100, derandomize=True)


@pytest.mark.slow
def test_mutated_manifests_never_raise_anything_else_long(tiny_bundle: Build) -> None:
    fuzz(tiny_bundle(scale=4), max_examples=5_000)


# Writing


def read_manifest_fields(folder: Path) -> m.Manifest:
    return m.manifest_from_json((folder / "manifest.json").read_bytes())


def test_records_and_manifest_make_a_bundle_again(tiny_bundle: Build, tmp_path: Path) -> None:
    source = tiny_bundle(external=True)
    manifest = read_manifest_fields(source)
    with staging(tmp_path / "copy") as part:
        shutil.copytree(source / "graphs", part / "graphs")
        records = file_records(part)
        write_manifest(part, msgspec.structs.replace(manifest, files=records))
        assert file_records(part) == records == manifest.files
        assert list(records) == sorted(records)
    assert opened(tmp_path / "copy").manifest == manifest
    assert sorted(path.name for path in (tmp_path / "copy").iterdir()) == ["graphs", "manifest.json"]


def test_records_refuse_links(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/hostname")
    with pytest.raises(BundleError, match="symbolic link"):
        file_records(tmp_path)


def test_a_manifest_that_could_not_be_read_is_not_written(tiny_bundle: Build) -> None:
    folder = tiny_bundle()
    before = (folder / "manifest.json").read_bytes()
    wrong = msgspec.structs.replace(read_manifest_fields(folder), name="Not A Name")
    with pytest.raises(BundleError, match=r"\$\.name"):
        write_manifest(folder, wrong)
    assert (folder / "manifest.json").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["graphs", "manifest.json"]


def half_written(target: Path, error: type[BaseException]) -> None:
    with staging(target, overwrite=True) as part:
        (part / "half").write_text("x")
        raise error


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_block_leaves_everything_as_it_was(
    tiny_bundle: Build, tmp_path: Path, error: type[BaseException]
) -> None:
    old = tiny_bundle("old", name="old")
    for target in (tmp_path / "new", old):
        with pytest.raises(error):
            half_written(target, error)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert opened(old).manifest.name == "old"


def test_overwriting_swaps_whole_bundles(tiny_bundle: Build, tmp_path: Path) -> None:
    old, new = tiny_bundle("old", name="old"), tiny_bundle("new", name="new")
    with staging(old, overwrite=True) as part:
        shutil.copytree(new, part, dirs_exist_ok=True)
        assert opened(old).manifest.name == "old"
    assert opened(old).manifest.name == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "old"]


def test_a_failed_swap_brings_the_old_bundle_back(
    tiny_bundle: Build, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = tiny_bundle("old", name="old")
    rename = os.rename

    def failing(source: Path, target: Path) -> None:
        if source.suffix == ".part":
            raise OSError("disk full")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(BundleError, match="disk full"), staging(old, overwrite=True):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert opened(old).manifest.name == "old"


def test_folders_that_cannot_be_written_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", full)
        with pytest.raises(BundleError, match="No space left"), staging(tmp_path / "new"):
            pass
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_bundle_is_never_replaced(tiny_bundle: Build, tmp_path: Path) -> None:
    photos, file, link = tmp_path / "photos", tmp_path / "file", tmp_path / "link"
    photos.mkdir()
    (photos / "a.png").write_bytes(b"x")
    file.write_bytes(b"x")
    link.symlink_to(tiny_bundle())
    for target in (photos, file, link):
        with pytest.raises(BundleError, match="no bundle"), staging(target, overwrite=True):
            pass
    for target, said in {link: "already", tmp_path / "no/where": "no such folder"}.items():
        with pytest.raises(BundleError, match=said), staging(target):
            pass
    assert (photos / "a.png").read_bytes() == b"x"


def test_a_target_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="already"), staging(tmp_path / "new"):
        (tmp_path / "new").mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_every_refusal_says_what_to_do(tiny_bundle: Build) -> None:
    folder = tiny_bundle()
    one_bit(folder)
    with pytest.raises(LqhqError) as caught:
        opened(folder)
    assert caught.value.where == GRAPH
    assert caught.value.mend.endswith(".")


# What is in it


def test_segments_are_graphs_of_their_own(latent_bundle: Build) -> None:
    bundle = opened(latent_bundle())
    first, second = bundle.segment("decode", 0), bundle.segment("decode", 1)
    assert (first.role, first.precision, first.bundle) == ("decode", "fp32", "latent")
    assert first.path == bundle.folder / "segments/decode.00.onnx"
    assert first.path.is_file()
    assert list(second.graph.inputs) == ["x", "skip", "mean", "rstd"]
    digests = {bundle.segment(role, index).digest for role in ("encode", "decode") for index in range(3)}  # type: ignore[arg-type]
    assert len(digests) == 6
    assert bundle.graph("decode", "fp32").digest not in digests
    with pytest.raises(IndexError):
        bundle.segment("decode", 3)


def test_a_bare_bundle_is_the_networks_alone(latent_bundle: Build, tiny_bundle: Build) -> None:
    bundle = opened(latent_bundle())
    bare = bundle.bare()
    assert bare.folder == bundle.folder
    assert bare.graph("encode", "fp32") == bundle.graph("encode", "fp32")
    assert [type(step) for step in bare.manifest.prepare] == [m.Resize, m.Pad]
    assert [type(step) for step in bare.manifest.finish] == [m.Crop, m.Quantize]
    assert bundle.manifest.small is not None
    assert bundle.manifest.colour is not None
    plain = opened(tiny_bundle(scale=4))
    assert plain.bare() == plain
    both = msgspec.structs.replace(bundle.manifest, prepare=bare.manifest.prepare, finish=bare.manifest.finish)
    assert bare.manifest == both  # nothing else is gone
