"""Who is served next, seen from outside: the batcher on a simulated worker, whose costs the book knows."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lqhq.server.batching.batch_key import BatchKey, Model, fixed_size
from lqhq.server.batching.batcher import Batcher
from lqhq.server.batching.config import BatchingConfig
from lqhq.server.batching.cost_book import CostBook
from lqhq.server.batching.entry import Entry, Rank
from lqhq.server.batching.fair_order import FairOrder

CALM = 1e9  # nobody is ever old


def batcher(size: int = 1, *, ageing_ms: float = CALM, share: int = 4, out: int = 1) -> Batcher:
    config = BatchingConfig(
        window_ms=0.0, batches_out=out, works_per_request=2 * size, ageing_ms=ageing_ms, ageing_share=share
    )
    book = CostBook()
    for role in ("denoise", "decode"):
        book.measured(BatchKey(Model("tiny", "1", "fp32", "onnx"), role, 8, 8), size, float(size), 0.0)
    return Batcher(config, fixed_size(size), book)


def cost(batch: Any) -> float:
    return batch.key.pixels * batch.size / 64


def test_first_come_first_served_among_equals(bench, tiles):
    at = bench(batcher())
    requests = [at.submit(tiles(1)) for _ in range(20)]
    assert [at.served(batch)[0] for batch in at.run(cost)] == requests


def test_the_earliest_deadline_first_among_equals(bench, tiles):
    at = bench(batcher())
    requests = [at.submit(tiles(1), deadline=deadline) for deadline in (900.0, 300.0, float("inf"), 600.0)]
    assert [requests.index(at.served(batch)[0]) for batch in at.run(cost)] == [1, 3, 0, 2]


def test_levels_are_strict(bench, tiles):
    at = bench(batcher())
    low, high = at.submit(tiles(5), level=3), at.submit(tiles(5), level=1)
    assert [at.served(batch)[0] for batch in at.run(cost)] == [high] * 5 + [low] * 5


def test_who_may_not_run_yet_is_not_overtaken_from_below():
    entries = [Entry(cast(Any, None), Rank(level, 0.0, 0.0, number), 0.0) for number, level in enumerate((2, 1, 3, 1))]
    candidates = FairOrder(ageing_ms=CALM, share=4).candidates(entries, 0.0)
    assert [entry.rank.number for entry in candidates] == [1, 3]


def test_places_that_are_left_go_to_lower_levels(bench, tiles):
    at = bench(batcher(size=4))
    low, high = at.submit(tiles(5), level=3), at.submit(tiles(2), level=1)
    assert at.served(at.take()) == [high, high, low, low]


OTHERS = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 3), st.sampled_from([8, 16, 24])), max_size=8)


@settings(max_examples=60, deadline=None)
@given(OTHERS, st.integers(0, 20), st.integers(1, 4), st.integers(1, 2), st.sampled_from([8, 40]))
def test_a_small_request_waits_for_one_batch_of_each_other(bench, tiles, others, before, size, out, side):
    at = bench(batcher(size, out=out))
    for works, rows, other in others:
        at.submit(tiles(works, rows=rows, side=other))
    at.run(cost, batches=before)
    still = len(at.batcher)
    small = at.submit(tiles(1, side=side))
    assert small in [request for batch in at.run(cost, batches=still + 1) for request in at.served(batch)]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([8, 16, 24, 64]), st.sampled_from([8, 16, 24, 64]), st.integers(0, 9), st.integers(1, 4))
def test_service_of_two_differs_by_no_more_than_a_batch_of_each(bench, tiles, one, other, late, size):
    """Theorem 1 of the paper, over every interval that begins when both are open."""
    at = bench(batcher(size))
    at.submit(tiles(400, side=one, role="decode"))
    at.run(cost, batches=late)
    at.submit(tiles(400, side=other))
    ran = at.run(cost, batches=60)
    most = (one**2 + other**2) * size / 64
    balance = [0.0]
    for batch in ran:
        balance.append(balance[-1] + (cost(batch) if batch.key.role == "decode" else -cost(batch)))
    assert max(balance) - min(balance) <= most


def test_a_level_that_was_held_up_has_no_old_claims(bench, tiles):
    """A scan that waited for more urgent ones does not make a small image of its own level wait for that."""
    at = bench(batcher())
    at.submit(tiles(50, side=16), level=2)
    at.run(cost, batches=3)
    at.submit(tiles(30), level=1)
    at.run(cost, batches=30)
    small = at.submit(tiles(1), level=2)
    assert small in [at.served(batch)[0] for batch in at.run(cost, batches=2)]


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 4), st.integers(1, 3), st.sampled_from([0.0, 5.0, 20.0]))
def test_nothing_starves(bench, tiles, share, level, ageing_ms):
    """However many more urgent or newer ones come: where `most` are open, each is served within `share * most` batches
    once it is old."""
    at, most = bench(batcher(ageing_ms=ageing_ms, share=share)), 8
    poor = at.submit(tiles(3, side=16), level=level)
    for _ in range(3 * int(ageing_ms + share * most)):
        while len(at.batcher) < most:
            at.submit(tiles(1), level=1)
        at.run(cost, batches=1)
    assert at.seen.get(poor) == "done"


def test_old_ones_take_their_share_and_no_more(bench, tiles):
    at = bench(batcher(ageing_ms=10.0, share=4))
    for _ in range(50):
        at.submit(tiles(1), level=3)
    at.submit(tiles(200), level=1)
    levels = [at.served(batch)[0].level for batch in at.run(cost, batches=120)]
    assert levels[:10] == [1] * 10  # nobody is old yet
    assert 24 <= levels.count(3) <= 30
    assert all(levels[at : at + 4].count(3) <= 1 for at in range(len(levels)))


def test_a_tile_that_takes_long_does_not_make_its_request_old(bench, tiles):
    """Its own service is no wait: who came meanwhile is next, every time."""
    at = bench(batcher(ageing_ms=10.0, share=2))
    scan = at.submit(tiles(20, side=64))
    for _ in range(10):
        running = at.take()
        assert at.served(running) == [scan]
        at.now += 64
        small = at.submit(tiles(1))
        at.done(running, 64.0)
        following = at.take()
        assert at.served(following) == [small]
        at.done(following)


def test_a_turn_of_the_oldest_that_was_withdrawn_is_still_due(bench, tiles):
    at = bench(batcher(ageing_ms=0.0, share=2, out=2))
    low, _ = at.submit(tiles(9), level=3), at.submit(tiles(99), level=1)
    for _ in range(8):
        at.take()
        ahead = at.take()
        at.out.remove(ahead)
        at.batcher.returned(ahead)
        at.now += 1
        at.done(at.out[0])
    assert len(low.source.back) >= 3


@pytest.mark.parametrize("fault", [{"ageing_ms": -1.0, "share": 4}, {"ageing_ms": 1.0, "share": 1}])
def test_what_cannot_be_is_refused(fault):
    with pytest.raises(ValueError, match="expected 0 or more, 2 or more"):
        FairOrder(**fault)
