"""Texts that JSON readers disagree about."""

from __future__ import annotations

import pytest

from lqhq.runtime.errors import BundleError
from lqhq.runtime.strict_json import plain_json


def test_plain_json_is_read() -> None:
    assert plain_json('{"a": [1, 2.5, "ä", null, true]}'.encode(), "x") == {"a": [1, 2.5, "ä", None, True]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"a": {"b": 1, "b": 2}}', "x: found the key 'b' twice"),
        (b'{"a": 1, "\\u0061": 2}', "the key 'a' twice"),
        (b"[NaN]", "the number NaN"),
        (b"[Infinity]", "the number Infinity"),
        (b"[" * 100_000, "nested too deep"),
        (b"{", "not JSON"),
        (b'{"a": 1} {"a": 2}', "not JSON"),
        (b'"\xe4"', "not JSON"),
        (b"\xef\xbb\xbf{}", "not JSON"),
    ],
)
def test_doubtful_texts_are_refused(text: bytes, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        plain_json(text, "x")
