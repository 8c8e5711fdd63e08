"""The best variant wins by what is measured; one that does not start is said to."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from serving.server_process import ServerError
from serving.services import Variant
from serving.trial import best_variant

SLOW, FAST, BROKEN = (Variant(form=form, workers=1, threads=1) for form in ("slow", "fast", "broken"))


class _Caller:
    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def call(self, index: int) -> bytes:
        time.sleep(self._seconds)
        return b""

    def close(self) -> None:
        pass


@contextmanager
def _start(variant: Variant) -> Iterator[Any]:
    if variant is BROKEN:
        raise ServerError("no such form")
    yield SimpleNamespace(connect=lambda: _Caller(0.03 if variant is SLOW else 0.001))


@pytest.mark.parametrize("clients", [1, 3])
def test_the_faster_one_is_chosen(clients: int) -> None:
    chosen, words = best_variant(_start, [SLOW, BROKEN, FAST], clients=clients, count=8)
    assert chosen is FAST
    assert "slow, 1 worker(s), 1 thread(s) each: p50 3" in words
    assert "broken, 1 worker(s), 1 thread(s) each: does not start" in words


def test_where_none_starts_it_is_an_error() -> None:
    with pytest.raises(ServerError, match="does not start"):
        best_variant(_start, [BROKEN], clients=1, count=2)
