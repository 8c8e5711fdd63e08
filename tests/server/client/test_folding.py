"""Events into a result, without a socket: every order but the right one is refused."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lqhq.runtime.errors import LimitError
from lqhq.runtime.geometry import Box
from lqhq.server.client.errors import TransferError
from lqhq.server.client.folding import Folding, Notice
from lqhq.server.protos import lqhq_v1_pb2 as pb

FILE = b"a file of bytes"


def events(cuts: tuple[int, ...] = (5, 9), data: bytes = FILE) -> list[pb.RestoreEvent]:
    bounds = [0, *cuts, len(data)]
    event = pb.RestoreEvent
    return [
        event(accepted=pb.Accepted(works=3, queue_s=1, run_s=2)),
        event(progress=pb.Progress(done=1, total=3, left_s=1.5)),
        event(tile=pb.Tile(box=pb.Box(top=1, left=2, height=3, width=4), image=b"PNG")),
        event(result=pb.ResultHeader(bytes=len(data))),
        *(event(chunk=pb.Chunk(offset=start, data=data[start:stop])) for start, stop in pairwise(bounds)),
        event(done=pb.Done(sha256=hashlib.sha256(data).hexdigest(), outcome=pb.Outcome(seed=7))),
    ]


def fold(some: list[pb.RestoreEvent], max_bytes: int = 1000) -> tuple[Folding, list[Notice | None]]:
    folding = Folding("host:1", max_bytes=max_bytes)
    return folding, [folding.take(event) for event in some]


def test_a_whole_stream() -> None:
    folding, notices = fold(events())
    assert notices == [(0, 3, 3.0), (1, 3, 1.5), (Box(1, 2, 3, 4), b"PNG"), None, None, None, None, None]
    assert folding.result().image == FILE
    assert folding.result().outcome.seed == 7


def test_nothing_measured_is_no_time_left() -> None:
    _, notices = fold([pb.RestoreEvent(accepted=pb.Accepted(works=3, queue_s=1))])
    assert notices == [(0, 3, 0.0)]


def test_events_of_a_newer_server_are_passed_over() -> None:
    whole = events()
    newer = pb.RestoreEvent.FromString(b"\xa2\x06\x03new")  # field 100
    folding, _ = fold([newer, *whole[:4], newer, *whole[4:], newer])
    assert folding.result().image == FILE


@given(st.permutations(range(8)))
def test_no_other_order_is_taken(order: list[int]) -> None:
    """Progress and tiles may change places; nothing else may."""
    right = order[0] == 0 and set(order[1:3]) == {1, 2} and order[3:] == [3, 4, 5, 6, 7]
    whole = events()
    if right:
        assert fold([whole[index] for index in order])[0].result().image == FILE
    else:
        with pytest.raises(TransferError, match="host:1"):
            fold([whole[index] for index in order])


@given(st.sets(st.integers(0, 7), min_size=1))
def test_what_is_left_out_is_missed(left: set[int]) -> None:
    whole = [event for index, event in enumerate(events()) if index not in left]
    if left <= {1, 2}:
        assert fold(whole)[0].result().image == FILE
    else:
        with pytest.raises(TransferError):
            fold(whole)[0].result()


@pytest.mark.parametrize("index", range(8))
def test_what_comes_twice_is_refused(index: int) -> None:
    whole = events()
    twice = [*whole[: index + 1], *whole[index:]]
    if index in (1, 2):
        assert fold(twice)[0].result().image == FILE
    else:
        with pytest.raises(TransferError):
            fold(twice)


@pytest.mark.parametrize(
    ("index", "change", "text"),
    [
        (3, pb.RestoreEvent(result=pb.ResultHeader(bytes=16)), "15 bytes of 16"),
        (3, pb.RestoreEvent(result=pb.ResultHeader(bytes=14)), "1 to 5 bytes at 9"),
        (3, pb.RestoreEvent(result=pb.ResultHeader()), "0 bytes"),
        (4, pb.RestoreEvent(chunk=pb.Chunk(offset=0)), "a chunk of 0 bytes"),
        (4, pb.RestoreEvent(chunk=pb.Chunk(offset=1, data=b"12345")), "at 1"),
        (4, pb.RestoreEvent(chunk=pb.Chunk(offset=0, data=b"12345")), "SHA-256"),
        (7, pb.RestoreEvent(done=pb.Done()), "a digest"),
    ],
)
def test_what_does_not_fit(index: int, change: pb.RestoreEvent, text: str) -> None:
    whole = events()
    whole[index] = change
    with pytest.raises(TransferError, match=text):
        fold(whole)


def test_a_promise_above_the_limit_is_refused_before_its_bytes() -> None:
    with pytest.raises(LimitError, match="15 bytes"):
        fold(events()[:4], max_bytes=14)
    assert fold(events(), max_bytes=15)[0].result().image == FILE


def test_a_promise_costs_no_memory() -> None:
    folding = Folding("host:1", max_bytes=1 << 50)
    whole = events()
    whole[3].result.bytes = 1 << 49
    for event in whole[:6]:
        folding.take(event)
    with pytest.raises(TransferError, match="9 bytes of 562949953421312"):
        folding.result()
