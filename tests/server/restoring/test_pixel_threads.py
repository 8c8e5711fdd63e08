"""Small images and plans do not wait behind large ones."""

from __future__ import annotations

import threading

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
    pool = PixelThreads(1)
    assert pool.of(TINY_PIXELS, heavy=False) is None
    assert pool.of(TINY_PIXELS + 1, heavy=False) is pool.quick
    assert pool.of(TINY_PIXELS, heavy=True) is pool.quick
    pool.close()
