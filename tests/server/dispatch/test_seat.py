"""Seats have names of their own."""

from __future__ import annotations

from lqhq.server.dispatch.seat import seat_names


def test_seats_on_one_device_are_told_apart() -> None:
    assert seat_names(["cpu", "cuda:0", "cpu", "cpu"]) == ("cpu", "cuda:0", "cpu#2", "cpu#3")
