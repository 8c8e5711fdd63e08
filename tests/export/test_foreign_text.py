"""Foreign text in messages."""

from __future__ import annotations

import pytest

from lqhq.export.foreign_text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\n \n  first\nsecond", "first"),
        ("a\x1b[2Jb\x07\u202ec\x9b", "a?[2Jb??c?"),
        ("x" * 300, "x" * 200),
        ("", ""),
    ],
)
def test_one_short_line_without_controls(text, shown):
    assert printable(text) == shown
