"""A mapping that forgets what was set first."""

from __future__ import annotations

from lqhq.server.batching.recent import Recent


def test_it_keeps_what_was_set_last():
    recent = Recent[int, str](3)
    for number in range(3):
        recent.put(number, "a")
    recent.put(0, "b")
    recent.put(3, "c")
    assert len(recent) == 3
    assert [recent.get(number) for number in range(4)] == ["b", None, "a", "c"]
