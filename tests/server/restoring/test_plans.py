"""Plans that are remembered are those that would be made."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from lqhq.runtime.errors import ImageError, OptionError
from lqhq.server.restoring import plans
from lqhq.server.restoring.planning import Bounds, plan_ask
from lqhq.server.restoring.plans import Plans
from lqhq.server.v2.options import Delivery

BOUNDS = Bounds(max_pixels=1 << 20, max_result_pixels=1 << 24, memory=1 << 30, batches=2, batch=4)


@pytest.fixture
def made(monkeypatch):
    """The requests for which a plan was made, in order."""
    asked = []

    def plan(ask, served, bounds):
        asked.append(ask)
        return plan_ask(ask, served, bounds)

    monkeypatch.setattr(plans, "plan_ask", plan)
    return asked


def planned(desk, folder, talk):
    async def run() -> None:
        async with desk(folder) as one:
            with one.models.lease("tiny") as served:
                talk(Plans(BOUNDS), served)

    asyncio.run(run())


def test_alike_are_planned_once(desk, tiny_bundle, ask, picture, made):
    def talk(book: Plans, served) -> None:
        for seed in range(3):
            asking = ask((picture + seed).astype(np.uint8), tile=16, seed=seed)
            assert book.plan(asking, served) == plan_ask(asking, served, BOUNDS)
        assert len(made) == 1

    planned(desk, tiny_bundle(), talk)


def test_whatever_decides_is_looked_at(desk, tiny_bundle, ask, picture, made):
    """A key that forgot one of these would give another's plan."""

    def talk(book: Plans, served) -> None:
        different = [
            ask(picture),
            ask(picture[1:]),
            ask(picture[:, :, :1]),
            ask(picture.astype(np.uint16)),
            ask(picture, tile=16),
            ask(picture, tile=16, overlap=0),
            ask(picture, blend="each"),
            ask(picture, schedule="three"),
            ask(picture, delivery=Delivery(format="png", bit_depth=16)),
        ]
        for _ in range(2):
            for asking in different:
                assert book.plan(asking, served) == plan_ask(asking, served, BOUNDS)
        assert len(made) == len(different)
        again = replace(served, key=served.key._replace(version="2.1"))
        book.plan(different[0], again)
        assert len(made) == len(different) + 1

    planned(desk, tiny_bundle(), talk)


def test_errors_are_not_remembered(desk, tiny_bundle, ask, picture):
    def talk(book: Plans, served) -> None:
        for _ in range(2):
            with pytest.raises(OptionError, match="schedule"):
                book.plan(ask(picture, schedule="none such"), served)
            with pytest.raises(ImageError, match="shape"):
                book.plan(ask(picture[0]), served)

    planned(desk, tiny_bundle(), talk)


def test_what_is_kept_is_bounded(desk, tiny_bundle, ask, picture, made, monkeypatch):
    monkeypatch.setattr(plans, "MOST_PLANS", 2)
    monkeypatch.setattr(plans, "MOST_TILES", 5)

    def talk(book: Plans, served) -> None:
        for side in (8, 12, 16):  # the first is forgotten
            book.plan(ask(picture[:side]), served)
        book.plan(ask(picture[:8]), served)
        assert len(made) == 4
        for _ in range(2):
            many = book.plan(ask(picture, tile=8, overlap=0), served)
        assert len(many.choice.plan) > 5
        assert len(made) == 6

    planned(desk, tiny_bundle(), talk)
