"""Who is let in, what is held, and what those hear who are not."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from lqhq.runtime.errors import LimitError, OptionError
from lqhq.server.admission.decision import Limits
from lqhq.server.admission.ledger import Ledger
from lqhq.server.batching.batch_key import BatchKey, Model, fixed_size
from lqhq.server.batching.cost_book import CostBook
from lqhq.server.batching.request import NEVER
from lqhq.server.config.serve_config import ServeConfig
from lqhq.server.metrics.metrics import Metrics
from lqhq.server.restoring.gate import Gate
from lqhq.server.v2.errors import DeadlineError, OverloadError
from lqhq.server.v2.options import Urgency

KEY = BatchKey(Model("tiny", "1.1", "fp32", "onnx"), "denoise", 32, 32)


def plan(works: int = 10, size: int = 100) -> Any:
    return SimpleNamespace(calls={KEY: works}, bytes=size)


def asking(priority: int = 0) -> Any:
    return SimpleNamespace(id="r1", urgency=Urgency(priority=priority))


def gate(*, measured: bool = True) -> tuple[Gate, Metrics]:
    book, metrics = CostBook(), Metrics()
    for _ in range(3 if measured else 0):
        book.measured(KEY, 1, 20.0, 99_000.0)
    limits = Limits(requests=3, works=1000, bytes=1000, wait_ms=1e6, workers=2)
    config = ServeConfig(bundles=("demo",))
    return Gate(Ledger(limits), book, fixed_size(1), config, metrics, lambda: 100.0), metrics


def test_predictions_are_shared_by_the_workers():
    async def run() -> None:
        one, _ = gate()
        first = one.let_in(asking(), plan(), NEVER)
        assert (first.level, first.works, first.queue_s) == (2, 10, 0.0)
        assert first.run_s == pytest.approx(0.1)
        second = one.let_in(asking(), plan(), NEVER)
        assert second.queue_s == pytest.approx(0.1)
        assert (one.requests, one.bytes) == (2, 200)
        first.holding.close()
        second.holding.close()
        assert (one.requests, one.bytes) == (0, 0)

    asyncio.run(run())


def test_nothing_measured_is_nothing_predicted():
    async def run() -> None:
        one, _ = gate(measured=False)
        assert one.let_in(asking(), plan(), NEVER).run_s == 0.0

    asyncio.run(run())


@pytest.mark.parametrize(
    ("given", "deadline_s", "kind", "reason"),
    [
        (plan(size=1001), NEVER, LimitError, "too_large"),
        (plan(works=1001), NEVER, LimitError, "too_large"),
        (plan(), 100.05, OptionError, "too_late"),  # 100 ms of work in 50 ms
        (plan(), 100.0, DeadlineError, None),
    ],
)
def test_what_can_never_be_is_not_to_be_tried_again(given, deadline_s, kind, reason):
    async def run() -> None:
        one, metrics = gate()
        with pytest.raises(kind) as refusal:
            one.let_in(asking(), given, deadline_s)
        assert not isinstance(refusal.value, OverloadError)
        assert (one.requests, one.bytes) == (0, 0)
        if reason is not None:
            assert f'reason="{reason}"}} 1' in metrics.page().decode()

    asyncio.run(run())


def test_a_level_that_is_not_there():
    async def run() -> None:
        one, _ = gate()
        assert one.let_in(asking(3), plan(), NEVER).level == 3
        with pytest.raises(OptionError, match="priority"):
            one.let_in(asking(4), plan(), NEVER)

    asyncio.run(run())


def test_full_is_full_for_now():
    async def run() -> None:
        one, metrics = gate()
        for _ in range(3):
            one.let_in(asking(), plan(), NEVER)
        with pytest.raises(OverloadError) as refusal:
            one.let_in(asking(), plan(), NEVER)
        assert refusal.value.retry_after_ms == pytest.approx(
            300.0, rel=0.05
        )  # they share the workers, and end together
        assert 'reason="busy"} 1' in metrics.page().decode()

    asyncio.run(run())
