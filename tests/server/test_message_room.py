"""Messages and uploads share room by their size."""

from __future__ import annotations

import pytest

from lqhq.server.message_room import MessageRoom
from lqhq.server.v2.errors import OverloadError


def test_room_is_taken_and_given_back() -> None:
    room = MessageRoom(100)
    with room.hold(60):
        with room.hold(40):
            assert room.held == 100
        with pytest.raises(OverloadError, match="60 bytes of other requests") as caught, room.hold(41):
            pass
        assert room.held == 60
    assert room.held == 0
    assert caught.value.retry_after_ms == 1000


def test_a_lone_one_finds_room() -> None:
    room = MessageRoom(100)
    with room.hold(101):
        assert room.held == 101


def test_room_comes_back_after_a_fault() -> None:
    room = MessageRoom(100)
    with pytest.raises(ZeroDivisionError), room.hold(60):
        raise ZeroDivisionError
    assert room.held == 0
