"""Small images and plans do not wait behind large ones."""

from __future__ import annotations

import threading

import pytest

from lqhq.server.restoring.pixel_threads import QUICK_PIXELS, TINY_PIXELS, PixelThreads


def test_a_large_image_holds_up_no_small_one():
    pool, go = PixelThreads(1), threading.Event()
    held = pool.of(QUICK_PIXELS + 1, heavy=True).submit(go.wait, 5)
    assert pool.of(QUICK_PIXELS, heavy=True).submit(lambda: 7).result(5) == 7
    behind = pool.slow.submit(lambda: 8)
    pool.close()
    go.set()
    assert held.result(5)
    assert behind.cancelled()


def test_what_is_soon_done_changes_no_thread():
    pool, here = PixelThreads(1), threading.get_ident()
    assert pool.of(TINY_PIXELS, heavy=False).submit(threading.get_ident).result(5) == here
    assert pool.of(TINY_PIXELS + 1, heavy=False).submit(threading.get_ident).result(5) != here
    assert pool.of(TINY_PIXELS, heavy=True).submit(threading.get_ident).result(5) != here
    with pytest.raises(ZeroDivisionError):
        pool.of(1, heavy=False).submit(lambda: 1 / 0).result()
    pool.close()
