"""Plain text for terminals."""

from __future__ import annotations

import pytest

from lqhq.tools.cli.columns import aligned, clean, size_text


def test_columns_are_padded_and_ends_are_bare() -> None:
    assert aligned([("a", "bb", "c"), ("aaa", "b")]) == ["  a    bb  c", "  aaa  b"]
    assert aligned([], indent=4) == []


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (1234, "1.23 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (7_864_320, "7.86 MB"),
        (3_460_000_000, "3.46 GB"),
        (5 * 10**12, "5e+03 GB"),
    ],
)
def test_sizes_have_three_digits(size: int, text: str) -> None:
    assert size_text(size) == text


def test_terminal_control_is_disarmed() -> None:
    assert clean("a\x1b[2Jb\nc\u202ed\x9be") == "a?[2Jb?c?d?e"
    assert clean("Ünï — 写真") == "Ünï — 写真"
