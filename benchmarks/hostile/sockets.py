"""Attacks below gRPC: what connects and speaks something else, or nothing."""

from __future__ import annotations

import socket
import struct
import time

import numpy as np

from hostile.target import Target

__all__ = ["foreign_bytes", "silent_connection"]

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113, section 3.4
SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"  # an empty SETTINGS frame, section 6.5
PATIENCE = 5.0
HELD_S = 1.0


def _frame(draw: np.random.Generator) -> bytes:
    """A frame's header (RFC 9113, section 4.1) with any type, flags and stream, and a length that may be a lie."""
    payload = bytes(draw.integers(0, 256, int(draw.integers(0, 64)), dtype=np.uint8))
    length = len(payload) if draw.integers(2) else int(draw.integers(2**24))
    kind, flags, stream = (int(draw.integers(high)) for high in (12, 256, 2**31))
    return struct.pack(">I", length)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def foreign_bytes(target: Target, draw: np.random.Generator) -> str:
    """HTTP/1.1, a TLS greeting, noise, or an HTTP/2 connection with frames that make no sense."""
    kind = int(draw.integers(5))
    noise = bytes(draw.integers(0, 256, int(draw.integers(1, 3000)), dtype=np.uint8))
    frames = b"".join(_frame(draw) for _ in range(int(draw.integers(1, 30))))
    said = (
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + noise,
        noise,
        PREFACE + noise,
        PREFACE + SETTINGS + frames,
    )[kind]
    with socket.create_connection(("127.0.0.1", target.port), PATIENCE) as connection:
        try:
            connection.sendall(said)
            if draw.integers(2):
                connection.shutdown(socket.SHUT_WR)
            connection.settimeout(float(draw.uniform(0.01, 0.2)))
            while connection.recv(4096):
                pass
        except OSError:  # it hung up, or has nothing more to say
            return "CLOSED"
    return "CLOSED"


def silent_connection(target: Target, draw: np.random.Generator) -> str:
    """Connects, says at most the greeting, and stays for a while."""
    with socket.create_connection(("127.0.0.1", target.port), PATIENCE) as connection:
        connection.sendall((b"", PREFACE[:7], PREFACE, PREFACE + SETTINGS)[int(draw.integers(4))])
        time.sleep(float(draw.uniform(0, HELD_S)))
    return "CLOSED"
