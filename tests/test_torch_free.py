"""Deploying needs no torch: runtime, kernels, server and command line import where it cannot be had."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("kernels", "runtime", "server", "tools/cli")
BLOCKED = ("torch", "triton", "diffusers", "onnx", "onnxscript", "safetensors", "PIL")

CHILD = """
import importlib, sys

BLOCKED = set(sys.argv[1].split(","))

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked")
        return None

sys.meta_path.insert(0, Blocker())
for name in sys.argv[2:]:
    importlib.import_module(name)
left = sorted(BLOCKED & set(sys.modules))
assert not left, left
print(len(sys.argv) - 2)
"""


def modules_of(folder: str) -> list[str]:
    """Every module below `folder`, but not `gpu.py` files: those need Triton, and a device array to call them."""
    names = []
    for file in sorted((ROOT / folder).rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        if parts[-1] != "gpu":
            names.append(".".join(("lqhq", *(parts[:-1] if parts[-1] == "__init__" else parts))))
    return names


def import_in_child(*modules: str, blocked: tuple[str, ...] = BLOCKED) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CHILD, ",".join(blocked), *modules]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("folder", [name for name in FOLDERS if (ROOT / name).is_dir()])
def test_imports_without_torch(folder: str) -> None:
    modules = modules_of(folder)
    ran = import_in_child(*modules)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == [str(len(modules))]


def test_the_folders_are_not_empty() -> None:
    assert "lqhq.runtime.errors" in modules_of("runtime")
    assert "lqhq.kernels.noise.reference" in modules_of("kernels")


@pytest.mark.parametrize("package", BLOCKED)
def test_planted_import_is_caught(package: str) -> None:
    ran = import_in_child(package)
    assert ran.returncode == 1
    assert f"{package} is blocked" in ran.stderr


def test_planted_module_of_ours_is_caught() -> None:
    """The export side imports torch at once, so it must fail: the blocker sees through our packages."""
    ran = import_in_child("lqhq.export.families.indi.film_resnet")
    assert ran.returncode == 1
    assert " is blocked" in ran.stderr
