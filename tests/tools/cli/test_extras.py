"""Optional packages, read from metadata."""

from __future__ import annotations

from importlib import metadata

import pytest

from lqhq.runtime.errors import EngineError
from lqhq.tools.cli import extras
from lqhq.tools.cli.extras import Package, declared_extras, package_state, require_extra

LINES = [
    "numpy>=1.26",
    'torch>=2.8; extra == "export"',
    'nowhere_at_all (>=1.0,<3) ; extra == "export"',
    "pyvips[binary]; python_version < '4' and extra == 'images'",
    'ruff==0.1; extra == "dev"',
]


def test_extras_are_those_of_the_metadata() -> None:
    extras = declared_extras(LINES)
    assert list(extras) == ["export", "images"]
    assert [(one.name, one.least) for one in extras["export"]] == [("torch", "2.8"), ("nowhere_at_all", "1.0")]
    assert extras["export"][1].text == "nowhere_at_all is missing"
    assert extras["images"][0].name == "pyvips"


def test_our_own_metadata_has_the_export_extra() -> None:
    assert {"torch", "onnx"} <= {package.name for package in declared_extras()["export"]}


@pytest.mark.parametrize(
    ("version", "least", "fits"),
    [
        ("2.13.0+cpu", "2.8", True),
        ("2.8", "2.8.0", False),
        ("2.8.0", "2.8", True),
        ("2.7.9", "2.8", False),
        ("0.42.1", "", True),
        ("3.0.0rc1", "3.0", True),
        (None, "", False),
    ],
)
def test_versions_are_compared_as_numbers(version: str | None, least: str, fits: bool) -> None:
    assert Package("x", version, least).fits is fits


def test_installed_packages_are_found() -> None:
    assert package_state("numpy").version == metadata.version("numpy")
    assert package_state("numpy", "999").text.endswith("is older than 999")


def test_what_a_command_needs_is_told_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        extras, "declared_extras", lambda: {"serve": [Package("grpcio", None, "1"), Package("a", "1", "1")]}
    )
    require_extra("client", "serve", of=("a",))
    require_extra("client", "other")
    with pytest.raises(EngineError, match=r"client: found grpcio is missing; .*pip install '\.\[serve\]'"):
        require_extra("client", "serve")
