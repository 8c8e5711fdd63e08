"""A bundle on disk: opening one that nobody vouches for, writing one whole or not at all.

What the manifest may say is in `manifest.py`; what the files must be, in `bundle_files.py` and
`bundle_graphs.py`.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from lqhq.runtime.bundle_files import check_digests, check_places, check_sizes, is_inside, regular_file
from lqhq.runtime.bundle_graphs import check_graphs
from lqhq.runtime.errors import BundleError, OptionError, ScheduleError
from lqhq.runtime.graph_file import GraphFile
from lqhq.runtime.manifest import (
    MAX_JSON_BYTES,
    FileRecord,
    Graph,
    Manifest,
    Role,
    manifest_from_json,
    manifest_to_json,
)
from lqhq.runtime.precision import Precision
from lqhq.runtime.segment_contract import segment_graphs
from lqhq.runtime.strict_json import plain_json
from lqhq.runtime.verified import CACHE_FILE, Verified, sha256_file

__all__ = ["Bundle", "file_records", "open_bundle", "read_manifest", "staging", "write_manifest"]

SHIPPED = {name: Path(__file__).resolve().parent / "bundles" / name for name in ("demo", "demo-lq")}
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle: every listed file was there, inside the folder, with its recorded digest."""

    folder: Path
    manifest: Manifest

    def path(self, name: str) -> Path:
        """The absolute path of a file that the manifest lists. Raises `BundleError` for any other name."""
        if name not in self.manifest.files:
            raise BundleError(
                str(self.folder),
                found=f"the name {name!r}",
                expected="a file of the bundle",
                mend=f"It holds {', '.join(sorted(self.manifest.files))}.",
            )
        return self.folder / name

    def bare(self) -> Bundle:
        """The same graphs without what is done around them: the rule for small images, and the colour fix.

        Parity is about the networks; images of any size reach them as they are.
        """
        manifest = self.manifest
        prepare = tuple(step for step in manifest.prepare if step != manifest.small)
        finish = tuple(step for step in manifest.finish if step != manifest.colour)
        return Bundle(self.folder, msgspec.structs.replace(manifest, prepare=prepare, finish=finish))

    def graph(self, role: Role, precision: str) -> GraphFile:
        """The graph of a role. Raises `OptionError` for a precision that the bundle does not hold."""
        variants = self.manifest.graphs[role]
        found = next((name for name in variants if name == precision), None)
        if found is None:
            raise OptionError(
                "precision",
                found=repr(precision),
                expected=f"one of {', '.join(sorted(variants))}",
                mend="Export the checkpoint again with this --precision, or leave it out.",
            )
        return self._file(role, found, variants[found])

    def segment(self, role: Role, index: int) -> GraphFile:
        """Segment `index` of a role, which is always in float32."""
        return self._file(role, "fp32", segment_graphs(self.manifest, role)[index])

    def _file(self, role: Role, precision: Precision, graph: Graph) -> GraphFile:
        digests = [self.manifest.files[name].sha256 for name in (graph.file, *graph.external_data)]
        return GraphFile(
            bundle=self.manifest.name,
            role=role,
            precision=precision,
            path=self.path(graph.file),
            graph=graph,
            digest=hashlib.sha256("".join(digests).encode() + msgspec.json.encode(graph.plan)).hexdigest(),
        )


def open_bundle(source: str | Path, *, verified: Path | None = CACHE_FILE) -> Bundle:
    """Open and check a bundle. Raises `BundleError`, which says what is wrong and how to mend it.

    source: "demo" and "demo-lq" are the bundles shipped in the package, which restore and synthesize; anything else is
    a folder ("./demo" for one so called).
    verified: where checked digests are remembered; None hashes every file every time.
    """
    folder = _folder(source)
    manifest = read_manifest(folder)
    memory = Verified(verified)
    check_places(folder, list(manifest.files))
    check_sizes(folder, manifest.files)
    check_digests(folder, manifest.files, memory)
    memory.save()
    check_graphs(folder, manifest)
    return Bundle(folder, manifest)


def read_manifest(folder: Path) -> Manifest:
    """The manifest in a bundle's folder, as far as it can be checked alone. Raises `BundleError`."""
    size = regular_file(folder, MANIFEST).st_size
    if size > MAX_JSON_BYTES:
        raise BundleError(
            MANIFEST,
            found=f"{size} bytes",
            expected=f"at most {MAX_JSON_BYTES}",
            mend="This is not a manifest that lqhq wrote; get the bundle again.",
        )
    try:
        data = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise BundleError(
            MANIFEST,
            found=f"an unreadable file ({error.strerror})",
            expected="a manifest",
            mend="Make the bundle readable for your user.",
        ) from error
    _check_paths(plain_json(data, MANIFEST))
    try:
        return manifest_from_json(data)
    except ScheduleError as error:
        raise BundleError(
            f"{MANIFEST}: schedules: {error.where}",
            found=error.found,
            expected=error.expected,
            mend=error.mend,
        ) from error


def file_records(folder: Path) -> dict[str, FileRecord]:
    """Digest and size of every file below `folder` but the manifest, by relative path, sorted."""
    records = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name == MANIFEST or (path.is_dir() and not path.is_symlink()):
            continue
        size = regular_file(folder, name).st_size
        records[name] = FileRecord(sha256=sha256_file(path), bytes=size)
    return records


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json in one step. Raises `BundleError` if it could not be read back as it is."""
    data = manifest_to_json(manifest)
    manifest_from_json(data)
    part = folder / f".{MANIFEST}.{secrets.token_hex(4)}.part"
    try:
        part.write_bytes(data)
        os.replace(part, folder / MANIFEST)
    except OSError as error:
        raise _cannot_write(folder / MANIFEST, error) from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def staging(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A fresh folder beside `target` that becomes it when the block ends well, and vanishes when it does not.

    With `overwrite` an existing bundle is replaced, in two renames; any other folder or file is not touched.
    Raises `BundleError` if the target may not be written.
    """
    target = target.absolute()
    _check_target(target, overwrite)
    token = secrets.token_hex(4)
    part = target.with_name(f".{target.name}.{token}.part")
    old = target.with_name(f".{target.name}.{token}.old")
    try:
        part.mkdir()
    except OSError as error:
        raise _cannot_write(target, error) from error
    try:
        yield part
        _check_target(target, overwrite)  # the block may have run for hours
        _swap(part, target, old)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _folder(source: str | Path) -> Path:
    if source in SHIPPED:
        return SHIPPED[str(source)]
    path = Path(source)
    if path.name == MANIFEST and os.path.isfile(path):
        raise BundleError(
            str(source),
            found="the manifest alone",
            expected="the bundle's folder",
            mend=f"Give the folder that holds it: {path.parent}",
        )
    # os.path, not Path: a name too long or a folder closed to us is a wrong source, not a traceback.
    if not os.path.isdir(source):  # of the text as given: an empty one is no folder, though `Path` makes it "."
        raise BundleError(
            str(source) or "''",
            found="a file" if os.path.exists(source) else "nothing there",
            expected="a bundle folder, or `demo` for the bundle shipped with lqhq",
            mend="Check the path, or make a bundle with `lqhq export`.",
        )
    return path.resolve()


def _check_paths(raw: Any) -> None:
    """Tell a path that leaves the folder from one that is merely misspelt, before the schema refuses both."""
    if not isinstance(raw, dict):
        return
    texts: list[Any] = [*_dict(raw.get("files"))]
    for variants in _dict(raw.get("graphs")).values():
        for graph in _dict(variants).values():
            external = _dict(graph).get("external_data")
            texts += [_dict(graph).get("file"), *(external if isinstance(external, list) else ())]
    for text in texts:
        if isinstance(text, str) and not is_inside(text):
            raise BundleError(
                f"{MANIFEST}: path {text[:200]!r}",
                found="an absolute path" if text.startswith("/") else "a path that leaves the bundle's folder",
                expected="a relative path inside the folder, without '..'",
                mend="Do not use this bundle: it reaches for files that are not its own.",
            )


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _check_target(target: Path, overwrite: bool) -> None:
    if not os.path.isdir(target.parent):
        raise BundleError(
            str(target.parent),
            found="no such folder",
            expected="a folder to write into",
            mend="Create it first.",
        )
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise BundleError(
            str(target),
            found="something there already",
            expected="a free name",
            mend="Choose another name, or replace it with --overwrite.",
        )
    if target.is_symlink() or not _is_bundle(target):
        raise BundleError(
            str(target),
            found="a file, a link or a folder that is no bundle",
            expected="a bundle, or a free name",
            mend="Only bundles are overwritten; choose another name, or remove it yourself.",
        )


def _swap(part: Path, target: Path, old: Path) -> None:
    """Put `part` in the place of `target`; what was there is removed last, or brought back."""
    try:
        if target.exists():
            os.rename(target, old)
        try:
            os.rename(part, target)
        except OSError:
            if old.exists():
                os.rename(old, target)
            raise
    except OSError as error:
        raise _cannot_write(target, error) from error
    shutil.rmtree(old, ignore_errors=True)


def _cannot_write(target: Path, error: OSError) -> BundleError:
    return BundleError(
        str(target),
        found=error.strerror or str(error),
        expected="to write there",
        mend="Check that the folder may be written to and has space; nothing was left behind.",
    )


def _is_bundle(folder: Path) -> bool:
    """Whether a manifest of any version lies there; an old or damaged bundle may be replaced, too."""
    try:
        data = (folder / MANIFEST).read_bytes()
    except OSError:
        return False
    return b'"lqhq-bundle"' in data[:4096]
