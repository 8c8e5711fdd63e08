"""Packets come whole, with their files, or the line is lost."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any

import pytest

from lqhq.server.workers.packets import MOST_BYTES, Line, LostError, close_files


def test_packets_stay_apart_and_in_order(lines: tuple[Line, Line]) -> None:
    one, other = lines
    for data in (b"a", b"bc" * 1000, b"\0"):
        one.send(data, wait=False)
    for data in (b"a", b"bc" * 1000, b"\0"):
        packet = other.receive(wait=True)
        assert packet is not None
        assert (bytes(packet.data), packet.files) == (data, ())
    assert other.receive(wait=False) is None


def test_files_come_with_their_packet_and_are_not_inherited(lines: tuple[Line, Line]) -> None:
    one, other = lines
    read, write = os.pipe()
    one.send(b"x", (read,), wait=True)
    one.send(b"y", wait=True)
    packet = other.receive(wait=True)
    assert packet is not None
    (file,) = packet.files
    os.write(write, b"through")
    assert os.read(file, 10) == b"through"
    assert not os.get_inheritable(file)
    close_files((file, read, write, read))  # once more does not matter
    last = other.receive(wait=True)
    assert last is not None
    assert last.files == ()


def test_whoever_reads_a_packet_first_has_it(lines: tuple[Line, Line]) -> None:
    one, other = lines
    again = Line(other.socket.dup())
    one.send(b"once", wait=False)
    assert again.receive(wait=False) is not None
    assert other.receive(wait=False) is None
    again.close()


def test_the_end_is_told_after_what_was_said(lines: tuple[Line, Line]) -> None:
    one, other = lines
    one.send(b"last words", wait=False)
    one.close()
    assert other.receive(wait=False) is not None
    with pytest.raises(LostError, match="it ended"):
        other.receive(wait=False)
    with pytest.raises(LostError, match="nobody to read it"):
        other.send(b"x", wait=False)


def test_a_packet_that_is_too_long_is_none_and_its_files_are_closed(
    lines: tuple[Line, Line], open_files: Callable[[], frozenset[Any]]
) -> None:
    one, other = lines
    before = open_files()
    one.socket.send(bytes(MOST_BYTES + 1))
    with pytest.raises(LostError, match="too long"):
        other.receive(wait=False)
    socket.send_fds(one.socket, [b"x"], [0, 1, 2, 0, 1, 2])
    with pytest.raises(LostError, match="too long"):
        other.receive(wait=False)
    one.socket.send(bytes(MOST_BYTES))  # a planted fault would be a limit that is off by one
    assert other.receive(wait=False) is not None
    assert not open_files() - before


def test_one_who_does_not_read_is_lost_and_not_waited_for(lines: tuple[Line, Line]) -> None:
    one, _ = lines

    def send_all() -> None:
        for _ in range(10_000):
            one.send(bytes(1000), wait=False)

    with pytest.raises(LostError, match="no room"):
        send_all()
