"""The batcher: what ends a request, what goes together, and laws over any history of calls."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lqhq.runtime.errors import EngineError
from lqhq.server.batching.batch_key import BatchKey, fixed_size
from lqhq.server.batching.batcher import Batcher
from lqhq.server.batching.config import BatchingConfig
from lqhq.server.batching.cost_book import CostBook
from lqhq.server.batching.entry import Batch, Wait

FAULT = EngineError("engine", found="a fault", expected="none", mend="mend it")


def batcher(size: int = 4, **config: Any) -> Batcher:
    return Batcher(BatchingConfig(**config), fixed_size(size), CostBook())


def test_one_request_runs_to_its_end_in_full_batches(bench, tiles):
    at = bench(batcher())
    request = at.submit(source := tiles(10, rows=3))
    ran = at.run(lambda batch: 1.0)
    assert at.seen == {request: "done"}
    assert source.finished
    assert [len(batch.works) for batch in ran] == [4, 4, 2] * 3
    assert {batch.size for batch in ran} == {4}


def test_works_of_many_share_a_batch(bench, tiles):
    at = bench(batcher())
    requests = [at.submit(tiles(1)) for _ in range(4)]
    batch = at.take()
    assert batch is not None
    assert at.served(batch) == requests


@pytest.mark.parametrize("other", [{"side": 16}, {"role": "decode"}])
def test_works_that_differ_do_not(bench, tiles, other):
    at = bench(batcher())
    at.submit(tiles(1))
    at.submit(tiles(1, **other))
    assert [len(batch.works) for batch in at.run(lambda batch: 1.0)] == [1, 1]


def test_models_do_not_share(bench, tiles):
    at = bench(batcher())
    for version in "12":
        at.submit(tiles(1), model=BatchKey("", "", 0, 0)._replace(model=("tiny", version, "fp32", "onnx")).model)
    assert [len(batch.works) for batch in at.run(lambda batch: 1.0)] == [1, 1]


def test_a_request_without_works_is_done_at_once(bench, tiles):
    at = bench(batcher())
    request = at.submit(tiles(0))
    assert at.take() is None
    assert at.seen == {request: "done"}


def test_expired_work_is_not_given_out(bench, tiles):
    at = bench(batcher(size=1))
    request = at.submit(source := tiles(3), deadline=10.0)
    first = at.take()
    assert at.batcher.take(at.now) == Wait(10.0)
    at.now = 10.0
    at.done(first)
    assert at.take() is None
    assert at.seen == {request: "expired"}
    assert len(source.back) == 1


def test_a_request_that_comes_too_late_is_not_started(bench, tiles):
    at = bench(batcher())
    at.now = 5.0
    request = at.submit(source := tiles(3), deadline=5.0)
    assert at.take() is None
    assert (at.seen, source.asked) == ({request: "expired"}, 0)


def test_cancel_frees_the_place_at_once_and_drops_what_runs(bench, tiles):
    at = bench(batcher(size=2))
    gone, stays = at.submit(source := tiles(8)), at.submit(tiles(1, side=16))
    batch = at.take()
    assert at.batcher.cancel(gone)
    assert not at.batcher.cancel(gone)
    assert at.batcher.held == 3  # two are out, one is of the other
    at.done(batch)
    assert source.back == {}
    assert at.batcher.counts.dropped == 2
    assert at.served(at.take()) == [stays]


def test_lost_works_go_first_once(bench, tiles):
    at = bench(batcher(size=2))
    request = at.submit(tiles(4))
    first = at.take()
    at.batcher.lost(first)
    again = at.take()
    assert again.works == first.works
    at.batcher.lost(again)
    assert at.take() is None
    assert at.seen == {request: "failed"}
    assert "lost twice" in str(at.errors[request])


def test_after_a_loss_nobody_shares_its_fate(bench, tiles):
    at = bench(batcher(size=2, batches_out=2))
    poison, good = at.submit(tiles(1)), at.submit(tiles(1))
    at.batcher.lost(at.take())
    first, second = at.take(), at.take()
    assert (at.served(first), at.served(second)) == ([poison], [good])
    at.batcher.lost(first)
    at.done(second)
    at.listen()
    assert at.seen == {poison: "failed", good: "done"}


def test_an_engine_that_fails_for_many_is_tried_for_each(bench, tiles):
    at = bench(batcher(size=2, batches_out=2))
    poison, good = at.submit(tiles(1)), at.submit(tiles(1))
    at.batcher.failed(at.take(), FAULT)
    first, second = at.take(), at.take()
    at.batcher.failed(first, FAULT)
    at.done(second)
    assert at.seen == {poison: "failed", good: "done"}
    assert at.errors[poison] is FAULT


def test_a_returned_batch_gives_way_to_who_came_since(bench, tiles):
    at = bench(batcher(size=1, batches_out=2))
    at.submit(tiles(9))
    at.take()
    ahead = at.take()
    small = at.submit(tiles(1, side=16))
    at.batcher.returned(ahead)
    assert at.served(at.take()) == [small]
    assert at.take() is None
    at.done(at.out[0])
    assert at.take().works == ahead.works


@pytest.mark.parametrize("way", ["lost", "returned"])
def test_what_came_back_without_a_result_is_not_charged(bench, tiles, way):
    at = bench(batcher(size=1))
    first = at.submit(tiles(1))
    at.submit(tiles(1))
    getattr(at.batcher, way)(at.take())
    assert at.served(at.take()) == [first]


@pytest.mark.parametrize(("deadline", "waits"), [(float("inf"), True), (1.0, False)])
def test_nobody_waits_for_others_past_its_deadline(bench, tiles, deadline, waits):
    at = bench(batcher(size=8, window_ms=10.0, batches_out=2))
    at.submit(tiles(9, side=16))
    at.take()
    for _ in range(16):  # two full batches, one work each 0.5 ms
        at.submit(tiles(1))
        at.now += 0.5
        for batch in filter(None, [at.take()]):
            at.done(batch)
    at.submit(tiles(1), deadline=at.now + deadline)
    assert (at.take() is None) == waits


def test_works_are_asked_for_within_the_total_and_one_of_each_beyond_it(bench, tiles):
    at = bench(batcher(size=2, works=6, works_per_request=16))
    sources = [tiles(50) for _ in range(5)]
    for source in sources:
        at.submit(source)
    at.take()
    assert [source.asked for source in sources] == [6, 1, 1, 1, 1]
    assert at.batcher.held == 10


class Broken:
    """Raises where it is told to."""

    def __init__(self, inner: Any, where: str, error: BaseException) -> None:
        self._inner, self._where, self._error = inner, where, error

    finished = False

    def ready(self, limit: int) -> Any:
        return self._act("ready", limit)

    def done(self, work: Any, fetch: Any) -> Any:
        return self._act("done", work, fetch)

    def _act(self, name: str, *arguments: Any) -> Any:
        if name == self._where:
            raise self._error
        return getattr(self._inner, name)(*arguments)


@pytest.mark.parametrize("where", ["ready", "done"])
@pytest.mark.parametrize("error", [FAULT, MemoryError()])
def test_a_source_that_refuses_fails_alone(bench, tiles, where, error):
    at = bench(batcher(size=2))
    broken, good = at.submit(Broken(tiles(1), where, error)), at.submit(tiles(1))
    at.run(lambda batch: 1.0)
    assert at.seen == {broken: "failed", good: "done"}
    assert at.errors[broken] is error


@pytest.mark.parametrize("where", ["ready", "done"])
def test_a_source_that_breaks_is_told_and_takes_nobody_with_it(bench, tiles, where):
    at = bench(batcher(size=2))
    broken, good = at.submit(Broken(tiles(1), where, KeyError("x"))), at.submit(tiles(1))
    with pytest.raises(KeyError):
        at.run(lambda batch: 1.0)
    at.run(lambda batch: 1.0)
    assert at.seen == {broken: "failed", good: "done"}


def test_a_source_with_nothing_left_to_do_and_no_result_fails(bench, tiles):
    at = bench(batcher())
    source = tiles(3)
    source.asked = 3
    request = at.submit(source)
    assert at.take() is None
    assert at.seen == {request: "failed"}


def test_a_batch_comes_back_once(bench, tiles):
    at = bench(batcher())
    at.submit(tiles(9))
    at.batcher.lost(batch := at.take())
    with pytest.raises(ValueError, match="not out"):
        at.batcher.lost(batch)


def test_a_request_is_submitted_once(bench, tiles):
    at = bench(batcher())
    request = at.submit(tiles(9))
    with pytest.raises(ValueError, match="open already"):
        at.batcher.submit(request, 0.0)


# Any history: (what, a number that picks who, a number that says how much).
EVENTS = st.sampled_from(["submit", "submit", "take", "take", "take", "done", "done", "lost", "failed", "returned"])
HISTORY = st.lists(
    st.tuples(st.one_of(EVENTS, st.sampled_from(["cancel", "pass"])), st.integers(0, 7), st.integers(0, 15)),
    max_size=60,
)
CONFIGS = st.builds(
    BatchingConfig,
    window_ms=st.sampled_from([0.0, 5.0]),
    batches_out=st.integers(1, 3),
    works_per_request=st.integers(1, 6),
    works=st.integers(1, 12),
    ageing_ms=st.sampled_from([0.0, 20.0, 1e6]),
    ageing_share=st.integers(2, 4),
)
SIZES = st.sampled_from([(1,), (4,), (1, 2, 4), (3, 5)])


class Laws:
    """Plays a history, and checks after each call what must hold after any."""

    def __init__(self, at: Any, tiles: Any, config: BatchingConfig, sizes: tuple[int, ...]) -> None:
        self.at, self.tiles, self.config, self.sizes = at, tiles, config, sizes
        self.requests: list[Any] = []
        self.runs: dict[Any, int] = {}  # of each work, those that were not returned

    def play(self, what: str, who: int, much: int) -> None:
        at = self.at
        if what == "submit":
            source = self.tiles(1 + much % 7, rows=1 + who % 3, side=(8, 16)[who % 2])
            deadline = at.now + 10 * much if much % 3 == 0 else float("inf")
            self.requests.append(at.submit(source, level=1 + who % 3, deadline=deadline))
        elif what == "cancel" and self.requests:
            at.batcher.cancel(self.requests[who % len(self.requests)])
            at.listen()
        elif what == "pass":
            at.now += much
        elif what == "take":
            if (batch := at.take()) is not None:
                self.check(batch)
        elif at.out:
            self.back(what, at.out[who % len(at.out)])
        self.hold()

    def back(self, what: str, batch: Batch) -> None:
        if what == "done":
            self.at.done(batch)
            return
        self.at.out.remove(batch)
        getattr(self.at.batcher, what)(*([batch, FAULT] if what == "failed" else [batch]))
        self.at.listen()
        if what == "returned":
            for work in batch.works:
                self.runs[work] -= 1

    def check(self, batch: Batch) -> None:
        assert {ticket.lane.key for ticket in batch.tickets} == {batch.key}
        assert {BatchKey.of(ticket.entry.request.model, ticket.work) for ticket in batch.tickets} == {batch.key}
        assert 1 <= len(batch.works) <= batch.size <= self.sizes[-1]
        assert batch.size == min(size for size in self.sizes if size >= len(batch.works))
        for ticket in batch.tickets:
            self.runs[ticket.work] = self.runs.get(ticket.work, 0) + 1
            assert self.runs[ticket.work] <= 2
            assert not ticket.retried or len({one.entry for one in batch.tickets}) == 1
            assert ticket.entry.request not in self.at.seen
            assert ticket.entry.request.deadline_ms > self.at.now

    def hold(self) -> None:
        batcher, counts = self.at.batcher, self.at.batcher.counts
        out = sum(len(batch.works) for batch in self.at.out)
        back = counts.done + counts.lost + counts.failed + counts.returned + counts.dropped
        assert counts.given == back + out
        assert len(self.at.out) <= self.config.batches_out
        open_ones = [request for request in self.requests if request not in self.at.seen]
        assert len(batcher) == len(open_ones)
        assert all(request.source.held <= self.config.works_per_request for request in open_ones)
        assert batcher.held <= out + sum(request.source.held for request in open_ones)
        assert batcher.held <= self.config.works + len(open_ones) + out

    def finish(self) -> None:
        """Whatever happened, all that is open ends, and what is done is done once."""
        while self.at.out:
            self.back("done", self.at.out[0])
        for batch in self.at.run(lambda batch: 1.0):
            assert len({ticket.lane.key for ticket in batch.tickets}) == 1
        self.hold()
        assert set(self.at.seen) == set(self.requests)
        assert self.at.batcher.held == 0
        for request in self.requests:
            assert set(request.source.back.values()) <= {1}
            assert (self.at.seen[request] == "done") == request.source.finished


@settings(max_examples=100, deadline=None)
@given(HISTORY, CONFIGS, SIZES)
def test_laws_of_any_history(bench, tiles, history, config, sizes):
    laws = Laws(bench(Batcher(config, lambda key: sizes, CostBook())), tiles, config, sizes)
    for event in history:
        laws.play(*event)
    laws.finish()
