"""The public doors: what each package offers is pinned here, and a door holds no logic."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A name added or taken away is a change that users feel: it goes here, and into CHANGELOG.md.
DOORS: dict[str, tuple[str, ...]] = {
    "kernels": (),
    "runtime": (
        "Bundle",
        "BundleError",
        "CancelledError",
        "CheckpointError",
        "Choice",
        "EngineError",
        "ImageError",
        "LatentChoice",
        "LimitError",
        "LqhqError",
        "OptionError",
        "Restorer",
        "Row",
        "Schedule",
        "ScheduleError",
        "Start",
        "open_bundle",
    ),
    "export": (),
    "tools": (),
    "tools/cli": (),
    "runtime/degrade": (
        "Degradation",
        "Degraded",
        "NAMES",
        "crop_to_scale",
        "degrade",
        "draw_steps",
        "load_degradation",
    ),
    "runtime/samplers": (),
    "server": (),
    "server/client": (
        "AccessError",
        "AsyncClient",
        "Client",
        "DeadlineError",
        "OverloadError",
        "RequestError",
        "Result",
        "Retry",
        "ServerError",
        "ServerStatus",
        "TransferError",
        "UnavailableError",
        "UnknownModelError",
        "UnreachableError",
        "UnsupportedError",
        "array_of",
    ),
}


def logic_in(tree: ast.Module) -> list[int]:
    """Lines of a door that are neither docstring, import, nor `__all__` as a list of written-out strings."""
    lines = []
    for index, node in enumerate(tree.body):
        docstring = index == 0 and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        names = isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["__all__"]
        if names:
            assert isinstance(node, ast.Assign)
            names = isinstance(node.value, ast.List | ast.Tuple) and all(
                isinstance(item, ast.Constant) for item in node.value.elts
            )
        if not (docstring or names or isinstance(node, ast.Import | ast.ImportFrom)):
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("folder", DOORS)
def test_names_are_pinned(folder: str) -> None:
    door = importlib.import_module("lqhq." + folder.replace("/", "."))
    assert tuple(sorted(getattr(door, "__all__", ()))) == tuple(sorted(DOORS[folder]))
    assert all(hasattr(door, name) for name in DOORS[folder])


@pytest.mark.parametrize("folder", DOORS)
def test_door_holds_no_logic(folder: str) -> None:
    assert logic_in(ast.parse((ROOT / folder / "__init__.py").read_text())) == []


def test_every_floor_has_a_pinned_door() -> None:
    floors = [name for name in ("kernels", "runtime", "server", "export", "tools") if list((ROOT / name).glob("*.py"))]
    assert set(floors) <= set(DOORS)


@pytest.mark.parametrize("fault", ["x = 1", "def f(): ...", "if True:\n    import a", "__all__ = make()", "'a'\n'b'"])
def test_planted_logic_is_found(fault: str) -> None:
    assert logic_in(ast.parse('"""Doc."""\nimport a\n__all__ = ["a"]')) == []
    assert logic_in(ast.parse(fault)) != []
