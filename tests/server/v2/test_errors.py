"""The tree in the text is the tree in the code."""

from __future__ import annotations

from lqhq.runtime.errors import LqhqError
from lqhq.server.v2 import errors


def test_the_tree_is_drawn_whole() -> None:
    drawn = (errors.__doc__ or "").split("LqhqError\n", 1)[1]
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), LqhqError)
        assert f"── {name} " in drawn
    assert drawn.count("──") == len(errors.__all__)
