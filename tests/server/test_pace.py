"""Ten times a second, and at the end."""

from __future__ import annotations

from lqhq.server.pace import Pace


def test_pace() -> None:
    times = iter([0.0, 0.05, 0.099, 0.1, 0.15, 0.16, 0.27])
    pace = Pace(lambda: next(times))
    asked = [pace.due(last=last) for last in (False, False, False, False, False, True, False)]
    assert asked == [True, False, False, True, False, True, True]
