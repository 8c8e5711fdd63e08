"""Packets over a pair of sockets: each comes whole or not at all, whoever dies when, and may carry open files."""

from __future__ import annotations

import array
import contextlib
import os
import socket
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["MOST_BYTES", "Line", "LostError", "Packet", "close_files", "line_pair"]

MOST_BYTES = 1 << 16  # a report of a self-check is the largest; a batch takes some hundred
MOST_FILES = 4  # one is sent; room for more, so that a wrong packet is seen as one
ROOM = socket.CMSG_SPACE(MOST_FILES * array.array("i").itemsize)
# Plain numbers: as members of an enumeration each `|` would take longer than the call.
NOW, PRIVATE = int(socket.MSG_DONTWAIT), int(socket.MSG_CMSG_CLOEXEC)
CUT = int(socket.MSG_TRUNC | socket.MSG_CTRUNC)


class LostError(Exception):
    """The other process is gone, does not listen, or says what cannot be. Whoever sees it gives the process up."""


class Packet(NamedTuple):
    """`data` is valid until the next is received; `files` are the receiver's to close."""

    data: memoryview
    files: tuple[int, ...]


class Line:
    """One end of a pair. `socket` is closed with it."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._room = bytearray(MOST_BYTES + 1)

    def send(self, data: bytes, files: Sequence[int] = (), *, wait: bool) -> None:
        """Raises `LostError` where nobody is there, or, unless it is to `wait`, where there is no room."""
        assert len(data) <= MOST_BYTES, len(data)
        carried = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
        try:
            self.socket.sendmsg([data], carried, 0 if wait else NOW)
        except OSError as error:
            raise LostError(f"no room for a message, or nobody to read it ({error.strerror})") from error

    def receive(self, *, wait: bool) -> Packet | None:
        """The next packet; None where there is none and it is not to `wait`. Raises `LostError` at the end."""
        flags = PRIVATE if wait else PRIVATE | NOW
        try:
            size, carried, marks, _ = self.socket.recvmsg_into([self._room], ROOM, flags)
        except BlockingIOError:
            return None
        except OSError as error:
            raise LostError(f"the line broke ({error.strerror})") from error
        files = array.array("i")
        for level, kind, data in carried:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                files.frombytes(data[: len(data) - len(data) % files.itemsize])
        if size == 0 or size > MOST_BYTES or marks & CUT:
            close_files(files)
            raise LostError("it ended" if size == 0 else "a message that is too long")
        return Packet(memoryview(self._room)[:size], tuple(files))

    def close(self) -> None:
        self.socket.close()


def line_pair() -> tuple[Line, Line]:
    """Two ends. The one who closes the last copy of an end is missed at the other."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Line(one), Line(other)


def close_files(files: Sequence[int]) -> None:
    """Close all, whatever they are."""
    for file in files:
        with contextlib.suppress(OSError):
            os.close(file)
