"""The logic of both clients, carried out by hand."""

from __future__ import annotations

import pytest
from grpc import StatusCode as Code

from lqhq.runtime.errors import LimitError
from lqhq.server.client import steps
from lqhq.server.client.failures import CallFailed, Failure
from lqhq.server.client.question import Question, question
from lqhq.server.client.retry import Attempts, Retry
from lqhq.server.client.steps import Pause, Stream, Unary
from lqhq.server.protos import inference_pb2 as v2
from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.server.v2.errors import RequestError, UnavailableError

AWAY = CallFailed(Failure(Code.UNAVAILABLE, "x: found draining; expected ready. Later."))
TOO_LARGE = CallFailed(Failure(Code.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 4)"))


def attempts(tries: int = 3) -> Attempts:
    return Attempts(Retry(tries=tries, first_s=1, longest_s=1), None, clock=lambda: 0.0, draw=lambda: 0.0)


def asked(size: int = 4) -> Question:
    return question(bytes(size), progress=False, tiles=False)


def test_call_pause_call_reply() -> None:
    run = steps.restore(asked(), attempts(), "host:1")
    first = next(run)
    assert isinstance(first, Unary)
    assert first.method == "Restore"
    assert run.throw(AWAY) == Pause(1)
    assert isinstance(run.send(None), Unary)
    with pytest.raises(StopIteration) as end:
        run.send(pb.RestoreResponse(image=b"hq", outcome=pb.Outcome(seed=3)))
    assert (end.value.value.image, end.value.value.outcome.seed) == (b"hq", 3)


def test_each_try_of_a_stream_is_sent_and_folded_from_the_start() -> None:
    run = steps.restore(asked(100_000), attempts(), "host:1")
    first = next(run)
    assert isinstance(first, Stream)
    list(first.uploads)
    run.throw(AWAY)
    second = run.send(None)
    assert isinstance(second, Stream)
    assert second.folding is not first.folding
    assert len(list(second.uploads)) == 3


def test_tries_end_with_the_last_error() -> None:
    run = steps.models(attempts(2), "host:1", ready=True)
    next(run)
    run.throw(AWAY)
    run.send(None)
    with pytest.raises(UnavailableError, match="tried 2 times"):
        run.throw(AWAY)


@pytest.mark.parametrize("where", ["result", "tile"])
def test_a_stream_follows_where_the_result_was_too_large_alone(where: str) -> None:
    refused = CallFailed(Failure(Code.INVALID_ARGUMENT, f"{where}: found 9; expected 4. Take RestoreStream."))
    run = steps.restore(asked(), attempts(), "host:1")
    next(run)
    if where == "result":
        assert isinstance(run.throw(refused), Stream)
    else:
        with pytest.raises(RequestError, match="tile"):
            run.throw(refused)


def test_a_stream_that_is_too_large_is_the_end() -> None:
    run = steps.restore(asked(), attempts(), "host:1")
    next(run)
    assert isinstance(run.throw(TOO_LARGE), Stream)
    with pytest.raises(LimitError):
        run.throw(TOO_LARGE)


def test_status_asks_three_things() -> None:
    run = steps.status(attempts(), "host:1")
    methods = [next(run), run.send(v2.ServerMetadataResponse(name="lqhq", version="1"))]
    methods.append(run.send(v2.ServerReadyResponse(ready=True)))
    assert [one.method for one in methods if isinstance(one, Unary)] == ["ServerMetadata", "ServerReady", "ListModels"]
    with pytest.raises(StopIteration) as end:
        run.send(pb.ListModelsResponse(models=[pb.ModelSummary(name="m")]))
    assert end.value.value == steps.ServerStatus(
        address="host:1", name="lqhq", version="1", ready=True, models=(pb.ModelSummary(name="m"),)
    )
