"""The window, alone and under simulated arrivals: it opens where waiting fills batches, and nowhere else."""

from __future__ import annotations

import random
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lqhq.server.batching.batch_key import fixed_size
from lqhq.server.batching.batcher import Batcher
from lqhq.server.batching.config import BatchingConfig
from lqhq.server.batching.cost_book import CostBook
from lqhq.server.batching.entry import Batch
from lqhq.server.batching.window import Window


def test_the_window_follows_the_gap_between_works(key):
    window = Window(10.0)
    for now in range(50):
        window.arrived(key(), 1, float(now))
    assert window.wait_ms(key(), 1, 49.0) == pytest.approx(2.0)
    assert window.wait_ms(key(), 4, 49.0) == pytest.approx(8.0)
    assert window.wait_ms(key(), 7, 49.0) == 10.0
    assert window.wait_ms(key(), 11, 49.0) == 0.0  # these will not come in time
    assert window.wait_ms(key(), 1, 70.0) == 0.0  # the stream has stopped
    assert window.wait_ms(key(16), 1, 49.0) == 0.0  # of these none has come


def test_a_burst_is_no_stream(key):
    """Ten works each 20 ms are one each 2 ms, whenever they come."""
    window = Window(10.0)
    for now in range(0, 1000, 20):
        window.arrived(key(), 10, float(now))
    assert window.wait_ms(key(), 1, 980.0) == pytest.approx(4.0)
    assert window.wait_ms(key(), 6, 980.0) == 0.0


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(1, 9)), max_size=30), st.integers(1, 9), st.floats(0, 9))
def test_never_more_than_the_most(key, arrivals, missing, most):
    window, now = Window(most), 0.0
    for gap, works in arrivals:
        now += gap
        window.arrived(key(), works, now)
        assert 0 <= window.wait_ms(key(), missing, now) <= most


def test_a_negative_window_is_refused():
    with pytest.raises(ValueError, match="most_ms"):
        Window(-1.0)


def simulate(bench, tiles, gaps: list[float], *, call_ms: float, window_ms: float = 5.0) -> tuple[list[Batch], list]:
    """Requests of one work each come after `gaps`; one worker, batches of 8. The batches, and waits before service."""
    at = bench(Batcher(BatchingConfig(window_ms=window_ms), fixed_size(8), CostBook()))
    come = list(accumulate(gaps))
    arrived, ran, waits, free = {}, [], [], 0.0
    while len(at.seen) < len(gaps):
        while len(arrived) < len(come) and come[len(arrived)] <= at.now:
            arrived[at.submit(tiles(1))] = at.now
        step = at.batcher.take(at.now) if at.now >= free else None
        times = [come[len(arrived)]] if len(arrived) < len(come) else []
        if isinstance(step, Batch):
            at.out.append(step)
            ran.append(step)
            waits += [at.now - arrived[request] for request in at.served(step)]
            free = at.now + call_ms
        elif at.out and at.now >= free:
            at.done(at.out[0], call_ms)
            continue
        else:
            times += [step.until_ms] if step is not None and not at.out else []
        at.now = min([*times, *([free] if at.out else [])])
    return ran, waits


def gaps_of(mean: float, count: int) -> list[float]:
    draw = random.Random("arrivals of the window")
    return [draw.expovariate(1 / mean) for _ in range(count)]


def test_a_lone_user_never_waits(bench, tiles):
    _, waits = simulate(bench, tiles, [0.5] * 40, call_ms=0.25)
    assert max(waits) == 0


def test_sparse_arrivals_do_not_wait_for_one_another(bench, tiles):
    """Twenty ms between requests, two ms of work: whoever finds the worker idle is served at once."""
    _, waits = simulate(bench, tiles, gaps_of(20.0, 200), call_ms=2.0)
    assert sorted(waits)[180] == 0


def test_dense_arrivals_fill_batches(bench, tiles):
    """Half a ms between requests, three ms of work: the worker is often idle, and waiting pays."""
    gaps = gaps_of(0.5, 800)
    filled, waits = simulate(bench, tiles, gaps, call_ms=3.0)
    hasty, _ = simulate(bench, tiles, gaps, call_ms=3.0, window_ms=0.0)
    assert len(filled) < 0.9 * len(hasty)
    assert max(waits) <= 5.0 + 2 * 3.0


def test_the_last_of_a_stream_is_sent_when_it_stops(bench, tiles):
    _, waits = simulate(bench, tiles, [0.5] * 101, call_ms=1.0)
    assert waits[-1] <= 5.0
