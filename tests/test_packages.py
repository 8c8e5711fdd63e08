"""What is installed is what stands in the tree, and the base install stays small."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from lqhq.runtime.bundle import SHIPPED
from lqhq.tools.source_tree import Source, read_sources

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("kernels", "runtime", "server", "export", "tools")
HEAVY = ("torch", "triton", "diffusers", "transformers", "onnx", "onnxscript", "grpcio", "tensorrt")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def packages_in_tree(root: Path) -> set[str]:
    doors = [door for floor in FLOORS for door in (root / floor).rglob("__init__.py")]
    return {".".join(("lqhq", *door.parent.relative_to(root).parts)) for door in doors}


def test_every_package_is_installed() -> None:
    assert set(project()["tool"]["setuptools"]["packages"]) == packages_in_tree(ROOT)


def test_planted_package_is_seen(tmp_path: Path) -> None:
    (tmp_path / "runtime/new").mkdir(parents=True)
    (tmp_path / "runtime/new/__init__.py").touch()
    assert packages_in_tree(tmp_path) == {"lqhq.runtime.new"}


def test_folders_with_code_are_packages() -> None:
    folders = {file.parent for floor in FLOORS for file in (ROOT / floor).rglob("*.py")}
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_there_is_no_root_package() -> None:
    """`lqhq` is a namespace: a file `lqhq/__init__.py` would hide half of it."""
    assert not (ROOT / "lqhq").exists()


def test_every_installed_floor_is_typed() -> None:
    floors = project()["tool"]["setuptools"]["package-dir"]
    assert [name for name, folder in floors.items() if not (ROOT / folder / "py.typed").is_file()] == []


def test_type_checkers_see_every_floor() -> None:
    for folder in project()["tool"]["setuptools"]["package-dir"].values():
        assert (ROOT / "typings/lqhq" / folder).resolve() == ROOT / folder


IMPORTED_AS = {
    "grpcio": "grpc",
    "grpcio_health_checking": "grpc_health",
    "grpcio_reflection": "grpc_reflection",
    "pillow": "PIL",
    "protobuf": "google",
}


def required(*extras: str) -> set[str]:
    """Import names of what the base install, or these extras beside it, ask for."""
    said = project()["project"]
    lines = [*said["dependencies"], *(line for extra in extras for line in said["optional-dependencies"][extra])]
    names = {re.split(r"[^A-Za-z0-9_-]", line)[0].replace("-", "_") for line in lines}
    return {IMPORTED_AS.get(name, name) for name in names}


def undeclared(sources: Iterable[Source], declared: set[str]) -> set[str]:
    """Packages that the files import, at any depth, and that nothing asks for."""
    roots = {imported.module.split(".")[0] for source in sources for imported in source.imports}
    return roots - declared - sys.stdlib_module_names - {"lqhq"}


def test_base_install_pulls_nothing_heavy() -> None:
    assert required() == {"msgspec", "numpy", "onnxruntime", "pyvips"}
    assert not required() & set(HEAVY)


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("kernels", ()),
        ("runtime", ("gpu", "prompt", "rtx", "tensorrt")),
        ("export", ("export",)),
        ("server", ("serve",)),
        ("tools/cli", ("export", "serve")),
        ("tools", ("dev", "serve")),
    ],
)
def test_what_is_imported_is_declared(folder: str, extras: tuple[str, ...]) -> None:
    sources, _ = read_sources(ROOT, [folder])
    assert sources
    assert undeclared((source for source in sources if source.path.name != "gpu.py"), required(*extras)) == set()


def test_planted_undeclared_import_is_found(tmp_path: Path) -> None:
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime/a.py").write_text("import numpy, lqhq.kernels, json\ndef f():\n    from torch import nn")
    sources, _ = read_sources(tmp_path, ["runtime"])
    assert undeclared(sources, required()) == {"torch"}
    assert undeclared(sources, required("export")) == set()


def test_shipped_bundles_fit_the_package() -> None:
    """At most 8 MB each; hidden files would be left out of the wheel without a word."""
    bundles = list((ROOT / "runtime/bundles").iterdir())
    assert sorted(bundle.name for bundle in bundles) == sorted(SHIPPED)
    for bundle in bundles:
        files = [file for file in bundle.rglob("*") if file.is_file()]
        assert sum(file.stat().st_size for file in files) <= 8_000_000
        assert [file.name for file in files if file.name.startswith(".")] == []
