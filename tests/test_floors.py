"""The tree obeys the floors, and every rule turns red on a planted fault."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lqhq.tools.floors import CONTRACT_SUITES, RULES, check, main

ROOT = Path(__file__).resolve().parent.parent

# rule -> files that break it, and it alone. Each text is one fault.
PLANTED: list[tuple[str, dict[str, str]]] = [
    ("bare", {"tests/conftest.py": "import runtime"}),
    ("bare", {"tools/a.py": "from kernels.noise import fill"}),
    ("bare", {"benchmarks/a.py": "import importlib\nimportlib.import_module('server.app')"}),
    ("relative", {"runtime/a.py": "from . import b", "runtime/b.py": ""}),
    ("floor", {"kernels/a.py": "from lqhq.runtime.errors import LqhqError"}),
    ("floor", {"runtime/a.py": "def f():\n    from lqhq.export import trace"}),
    ("floor", {"export/a.py": "import lqhq.server.app"}),
    ("floor", {"server/a.py": "from lqhq import export"}),
    (
        "floor",
        {
            "runtime/a.py": "import typing\nif typing.TYPE_CHECKING:\n    from lqhq.tools.cli import main",
        },
    ),
    ("door", {"examples/a.py": "from lqhq.runtime.tiles import plan"}),
    ("third-party", {"runtime/a.py": "import torch"}),
    ("third-party", {"runtime/a.py": "def f():\n    import onnxruntime"}),
    ("third-party", {"runtime/engines/a.py": "import onnxruntime"}),
    ("third-party", {"runtime/tiles.py": "import pyvips"}),
    ("third-party", {"kernels/noise/__init__.py": "import torch"}),
    ("third-party", {"export/trace.py": "import diffusers"}),
    (
        "cycle",
        {"runtime/a.py": "from lqhq.runtime.b import x", "runtime/b.py": "from lqhq.runtime.a import y"},
    ),
    (
        "cycle",  # a module that uses its own package's door, inside a function
        {
            "runtime/__init__.py": "from lqhq.runtime.a import x",
            "runtime/a.py": "def f():\n    from lqhq.runtime import x",
        },
    ),
    ("environment", {"runtime/a.py": "import os\nx = os.environ['A']"}),
    ("environment", {"tools/a.py": "from os import getenv"}),
    ("name", {"runtime/tile_utils.py": ""}),
    ("name", {"export/common/tiles.py": ""}),
    ("name", {"tools/_helpers.py": ""}),
    ("family", {"runtime/a.py": "def indi_rows(): ..."}),
    ("family", {"runtime/a.py": "x = 'diffir'"}),
    ("family", {"runtime/a.py": "class OSEDiffState: ..."}),
    ("family", {"runtime/a.py": "def f(*, lq_ddpm=1): ..."}),
    ("family", {"kernels/diffir/__init__.py": ""}),
    (
        "family",
        {"runtime/a.py": "from lqhq.runtime.samplers import indi", "runtime/samplers/indi.py": ""},
    ),
    ("family", {"runtime/samplers/a.py": "from lqhq.runtime.samplers import osediff"}),
    ("mirror", {"tests/runtime/test_tiles.py": "", "runtime/window.py": ""}),
    ("mirror", {"tests/test_all_sorts.py": ""}),
    ("syntax", {"runtime/a.py": "def f(:"}),
]

ALLOWED = {
    "kernels/noise/__init__.py": "import numpy",
    "kernels/noise/gpu.py": "import torch\nimport triton",
    "runtime/engines/onnx.py": "import onnxruntime",
    "runtime/image_file.py": "import pyvips, numpy, msgspec",
    "runtime/samplers/indi.py": '"""InDI."""\ndef indi(): ...',
    "runtime/a.py": '"""As InDI and lq_ddpm do."""\n# diffir\nindices = indirect = "ddpm"',
    "runtime/__init__.py": "from lqhq.runtime.a import indices",
    "export/families/indi/unet.py": "import diffusers\nfrom lqhq.runtime.samplers.indi import indi",
    "tools/cli/main.py": "import os\nos.environ\nfrom lqhq.export.families.indi import unet",
    "tests/kernels/test_noise.py": "import os\nos.environ\nfrom lqhq.kernels import noise",
    "tests/runtime/samplers/test_indi.py": "",
    "tests/oracles/philox.py": "",
    "tests/test_floors.py": "",
    "examples/a.py": "from lqhq.runtime import Restorer",
}


def plant(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_the_tree_obeys() -> None:
    assert [str(finding) for finding in check(ROOT)] == []


@pytest.mark.parametrize(("rule", "files"), PLANTED)
def test_a_planted_fault_is_found(tmp_path: Path, rule: str, files: dict[str, str]) -> None:
    plant(tmp_path, files)
    assert [finding.rule for finding in check(tmp_path)] == [rule]


def test_every_rule_has_a_planted_fault() -> None:
    assert {rule for rule, _ in PLANTED} == set(RULES)


def test_what_is_allowed_passes(tmp_path: Path) -> None:
    plant(tmp_path, ALLOWED)
    assert [str(finding) for finding in check(tmp_path)] == []


def test_listed_suites_exist() -> None:
    assert [name for name in sorted(CONTRACT_SUITES) if not (ROOT / name).is_file()] == []


def test_command_prints_and_exits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plant(tmp_path, {"runtime/a.py": "\nimport scipy"})
    assert main([str(tmp_path)]) == 1
    assert capsys.readouterr().out == "runtime/a.py:2: third-party: runtime may not import scipy\n"
    ran = subprocess.run([sys.executable, ROOT / "tools/floors.py", tmp_path], capture_output=True, check=False)
    assert ran.returncode == 1
    assert main([str(tmp_path / "empty")]) == 0
