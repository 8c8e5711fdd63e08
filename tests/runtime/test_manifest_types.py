"""Names, paths and numbers that a manifest may hold."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from lqhq.runtime.manifest_types import Name, Positive, RelativePath, Side, Strict


class Part(Strict, frozen=True, kw_only=True):
    side: Side = 1
    count: Positive = 1
    name: Name = "a"
    path: RelativePath = "a"


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("side", [1, 1 << 16]),
        ("count", [1, 1 << 40]),
        ("name", ["a", "0", "one-step", "sd2.1_base", "a" * 64]),
        ("path", ["a", "a.onnx", "graphs/a.onnx", "a/b/c/d.e", "_a/B-c"]),
    ],
)
def test_what_may_be(field: str, values: list[Any]) -> None:
    for value in values:
        assert getattr(msgspec.convert({field: value}, Part), field) == value


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("side", [0, -1, (1 << 16) + 1, 1.5, "8"]),
        ("count", [0, -5]),
        ("name", ["", "A", "-a", ".a", "a b", "a/b", "a" * 65, "ä", "a\n"]),
        (
            "path",
            ["", "/a", "../a", "a/../b", "a//b", "./a", ".a", "a/.b", "a\\b", "a/b/c/d/e", "a b", "a/", "a\n", "C:a"],
        ),
        ("other", [1]),
    ],
)
def test_what_may_not_be_is_named(field: str, values: list[Any]) -> None:
    """The planted faults: a path that leaves the folder, a name with a line's end."""
    for value in values:
        with pytest.raises(msgspec.ValidationError, match=field):
            msgspec.convert({field: value}, Part)


def test_parts_do_not_change() -> None:
    part = Part()
    with pytest.raises(AttributeError, match="immutable"):
        part.side = 2  # type: ignore[misc]
