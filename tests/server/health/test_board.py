"""What is ready, and who is woken."""

from __future__ import annotations

import asyncio

import pytest

from lqhq.server.health.board import SERVICES, HealthBoard


@pytest.fixture
def board() -> HealthBoard:
    return HealthBoard()


def test_nothing_is_ready_at_first(board: HealthBoard) -> None:
    assert [board.ready(name) for name in SERVICES] == [False] * 3
    assert board.ready("demo") is None


def test_server_and_models_apart(board: HealthBoard) -> None:
    board.server(True)
    board.model("demo", False)
    assert [board.ready(name) for name in SERVICES] == [True] * 3
    assert board.ready("demo") is False


@pytest.mark.parametrize("name", SERVICES)
def test_a_model_cannot_speak_for_a_service(board: HealthBoard, name: str) -> None:
    board.server(True)
    board.model(name, False)
    assert board.ready(name) is True


def test_nothing_is_ready_after_draining(board: HealthBoard) -> None:
    board.model("demo", True)
    board.drain()
    board.server(True)
    board.model("late", True)
    assert [board.ready(name) for name in (*SERVICES, "demo", "late")] == [False] * 5


def test_watchers_are_woken_by_changes_alone(board: HealthBoard) -> None:
    async def watched() -> None:
        with board.watch() as one, board.watch() as two:
            assert board.watchers == 2
            board.server(False)
            assert not one.is_set()
            board.server(True)
            assert one.is_set()
            assert two.is_set()
        assert board.watchers == 0
        board.server(False)

    asyncio.run(watched())
