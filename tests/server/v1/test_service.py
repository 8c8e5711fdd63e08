"""lqhq.v1 over a real socket: images in and out, whole and in chunks; what is wrong, what is cancelled, who is slow."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import StatusCode
from numpy.typing import NDArray

from lqhq.runtime.image_file import read_image_bytes
from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.server.protos.lqhq_v1_pb2_grpc import RestorationStub

Upload = Callable[..., list[pb.RestoreUpload]]


def refused(call: Callable[[], Any]) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def schedule(name: str) -> pb.Ask:
    return pb.Ask(options=pb.Options(schedule=name))


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 5
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def test_restore(stub: RestorationStub, png: bytes, picture: NDArray[np.uint8]) -> None:
    ask = pb.Ask(request_id="mine-1", options=pb.Options(seed=2**64 - 1), priority=3)
    reply = stub.Restore(pb.RestoreRequest(ask=ask, image=png), timeout=10)
    pixels = read_image_bytes(reply.image, name="result").pixels
    np.testing.assert_array_equal(pixels, picture.repeat(2, 0).repeat(2, 1))
    outcome = reply.outcome
    assert (outcome.request_id, outcome.model, outcome.version, outcome.seed) == ("mine-1", "tiny", 3, 2**64 - 1)
    assert outcome.shape == pb.ImageShape(height=12, width=16, channels=3, bit_depth=8)
    assert (outcome.format, outcome.blend, outcome.rules) == (pb.IMAGE_FORMAT_PNG, pb.BLEND_FINAL, pb.RULES_DEFAULT)
    assert (outcome.prior, outcome.color_fix) == (pb.PRIOR_UNSPECIFIED, pb.COLOR_FIX_NONE)
    assert (outcome.tile_height, outcome.tile_width, outcome.encode_s) == (32, 16, 0.4)


def test_an_id_is_made_and_the_deadline_passed_on(served: Any, stub: RestorationStub, png: bytes) -> None:
    made = {stub.Restore(pb.RestoreRequest(image=png), timeout=10).outcome.request_id for _ in range(2)}
    assert len(made) == 2
    assert 5 < served.restoring.asks[-1].deadline_s < 11  # gRPC rounds it
    stub.Restore(pb.RestoreRequest(image=png))
    assert served.restoring.asks[-1].deadline_s is None


WRONG: dict[str, tuple[pb.Ask, StatusCode, str]] = {
    "id": (pb.Ask(request_id="a\nb"), StatusCode.INVALID_ARGUMENT, "request_id"),
    "long id": (pb.Ask(request_id="a" * 129), StatusCode.INVALID_ARGUMENT, "request_id"),
    "quality": (pb.Ask(output=pb.Output(quality=101)), StatusCode.INVALID_ARGUMENT, "output.quality"),
    "full": (schedule("full"), StatusCode.RESOURCE_EXHAUSTED, "queue"),
    "broken": (schedule("broken"), StatusCode.INTERNAL, "its log has the reason"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_has_its_status(stub: RestorationStub, png: bytes, name: str) -> None:
    ask, code, told = WRONG[name]
    error = refused(lambda: stub.Restore(pb.RestoreRequest(ask=ask, image=png), timeout=10))
    assert error.code() is code
    assert told in error.details()


def test_no_image(stub: RestorationStub) -> None:
    assert refused(lambda: stub.Restore(pb.RestoreRequest(), timeout=10)).details().startswith("image: found no bytes")


def test_what_is_hidden_is_logged_under_the_id(served: Any, stub: RestorationStub, png: bytes) -> None:
    ask = pb.Ask(request_id="hidden-1", options=pb.Options(schedule="broken"))
    assert "/secret" not in refused(lambda: stub.Restore(pb.RestoreRequest(ask=ask, image=png))).details()
    event, fields = served.logged[-1]
    assert (event, fields["id"], fields["kind"]) == ("call failed", "hidden-1", "EngineError")
    assert "/secret" in fields["error"]


def test_who_is_refused_hears_when_to_come_back(stub: RestorationStub, png: bytes) -> None:
    error = refused(lambda: stub.Restore(pb.RestoreRequest(ask=schedule("full"), image=png)))
    assert dict(error.trailing_metadata())["retry-after-ms"] == "250"


def test_a_result_above_a_message_is_refused(stub: RestorationStub, png: bytes) -> None:
    error = refused(lambda: stub.Restore(pb.RestoreRequest(ask=schedule("big"), image=png)))
    assert error.code() is StatusCode.INVALID_ARGUMENT
    assert "RestoreStream" in error.details()


def test_cancel_reaches_the_restoration(served: Any, stub: RestorationStub, png: bytes) -> None:
    ask = pb.Ask(request_id="cancel-1", options=pb.Options(schedule="wait"))
    call = stub.Restore.future(pb.RestoreRequest(ask=ask, image=png))
    until(lambda: served.restoring.running == 1)
    call.cancel()
    until(lambda: "cancel-1" in served.restoring.cancelled and not served.answers)


def test_a_deadline_reaches_the_restoration(served: Any, stub: RestorationStub, png: bytes) -> None:
    ask = pb.Ask(request_id="late-1", options=pb.Options(schedule="wait"))
    error = refused(lambda: stub.Restore(pb.RestoreRequest(ask=ask, image=png), timeout=0.6))
    assert error.code() is StatusCode.DEADLINE_EXCEEDED
    until(lambda: "late-1" in served.restoring.cancelled and not served.answers)


def test_a_stream_of_everything(stub: RestorationStub, upload: Upload, png: bytes, picture: NDArray[np.uint8]) -> None:
    messages = upload(png, b"mask", progress=True, tiles=True, ask=pb.Ask(request_id="s-1"), chunk_bytes=4096)
    events = list(stub.RestoreStream(iter(messages), timeout=10))
    kinds = [event.WhichOneof("message") for event in events]
    assert kinds == ["accepted", "tile", "progress", "tile", "progress", "result", "chunk", "done"]
    assert (events[0].accepted.request_id, events[0].accepted.works) == ("s-1", 2)
    assert events[0].accepted.result == pb.ImageShape(height=12, width=16, channels=3, bit_depth=8)
    result = picture.repeat(2, 0).repeat(2, 1)
    for event, top in ((events[1], 0), (events[3], 6)):
        assert event.tile.box == pb.Box(top=top, left=0, height=6, width=16)
        tile = read_image_bytes(event.tile.image, name="tile").pixels
        np.testing.assert_array_equal(tile, result[top : top + 6])
    assert (events[4].progress.done, events[4].progress.total, events[4].progress.left_s) == (2, 2, 0.5)
    data = events[6].chunk.data
    assert (events[5].result.bytes, events[5].result.format) == (len(data), pb.IMAGE_FORMAT_PNG)
    np.testing.assert_array_equal(read_image_bytes(data, name="result").pixels, result)
    assert events[7].done.sha256 == hashlib.sha256(data).hexdigest()
    assert events[7].done.outcome.request_id == "s-1"


def test_a_stream_asked_for_nothing_more(served: Any, stub: RestorationStub, upload: Upload, png: bytes) -> None:
    events = list(stub.RestoreStream(iter(upload(png, b"mask", chunk=7)), timeout=10))
    assert [event.WhichOneof("message") for event in events] == ["accepted", "result", "chunk", "done"]
    assert (served.restoring.asks[-1].image, served.restoring.asks[-1].mask) == (png, b"mask")


def test_results_above_a_message_come_in_chunks(stub: RestorationStub, upload: Upload, png: bytes) -> None:
    events = list(stub.RestoreStream(iter(upload(png, ask=schedule("big"), chunk_bytes=500_000)), timeout=10))
    chunks = [event.chunk for event in events if event.WhichOneof("message") == "chunk"]
    assert [chunk.offset for chunk in chunks] == [index * 500_000 for index in range(len(chunks))]
    data = b"".join(chunk.data for chunk in chunks)
    assert len(chunks) > 10
    assert hashlib.sha256(data).hexdigest() == events[-1].done.sha256


def test_a_stream_that_fails_says_why_once(stub: RestorationStub, upload: Upload, png: bytes) -> None:
    error = refused(lambda: list(stub.RestoreStream(iter(upload(png, ask=schedule("full"))), timeout=10)))
    assert error.code() is StatusCode.RESOURCE_EXHAUSTED
    assert dict(error.trailing_metadata())["retry-after-ms"] == "250"


def test_an_unknown_model_is_told_before_the_upload(stub: RestorationStub, upload: Upload) -> None:
    header = upload(b"x" * 100, ask=pb.Ask(model=pb.ModelRef(name="none")))[:1]
    error = refused(lambda: list(stub.RestoreStream(lasting(header), timeout=10)))
    assert error.code() is StatusCode.NOT_FOUND


def lasting(messages: list[pb.RestoreUpload]) -> Iterator[pb.RestoreUpload]:
    """The messages, and then nothing: no end, no half-close."""
    yield from messages
    time.sleep(1.5)


def test_a_client_that_goes_cancels(served: Any, upload: Upload, png: bytes) -> None:
    with grpc.insecure_channel(served.address) as channel:
        ask = pb.Ask(request_id="gone-1", options=pb.Options(schedule="wait"))
        call = RestorationStub(channel).RestoreStream(iter(upload(png, ask=ask)))
        assert next(call).WhichOneof("message") == "accepted"
    until(lambda: "gone-1" in served.restoring.cancelled and not served.answers and not served.room.held)


def test_a_slow_reader_is_cut_off(served: Any, upload: Upload, png: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lqhq.server.call_edge.ABORT_S", 0.1)
    # Without probing, the window stays at 64 KiB: otherwise the client's library reads ahead on its own.
    with grpc.insecure_channel(served.address, [("grpc.http2.bdp_probe", 0)]) as channel:
        messages = upload(png, ask=schedule("big"), chunk_bytes=1 << 20)
        call = RestorationStub(channel).RestoreStream(iter(messages))
        next(call)
        next(call)
        until(lambda: len(served.answers) == 1 and not served.room.held)
        # Half a second for a message, and a little for the status that waits behind it.
        until(lambda: not served.answers)
        error = refused(lambda: list(call))
    assert error.code() is StatusCode.DEADLINE_EXCEEDED
    assert "was not read" in error.details()


def test_models(stub: RestorationStub) -> None:
    every = stub.ListModels(pb.ListModelsRequest()).models
    assert [(one.name, one.version, one.state, one.reason) for one in every] == [
        ("bad", 1, pb.MODEL_STATE_FAILED, "a damaged file"),
        ("tiny", 3, pb.MODEL_STATE_READY, ""),
    ]
    assert [one.name for one in stub.ListModels(pb.ListModelsRequest(ready=True)).models] == ["tiny"]


def test_describe(stub: RestorationStub) -> None:
    model = stub.DescribeModel(pb.DescribeModelRequest(model=pb.ModelRef(name="tiny"))).model
    assert (model.summary.name, model.summary.version, model.engine, model.device) == ("tiny", 3, "onnx", "cpu")
    assert (model.limits.max_message_bytes, model.limits.priority_levels) == (1 << 20, 3)
    failed = stub.DescribeModel(pb.DescribeModelRequest(model=pb.ModelRef(name="bad"))).model
    assert failed == pb.Model(summary=failed.summary)
    assert failed.summary.reason == "a damaged file"
    unknown = refused(lambda: stub.DescribeModel(pb.DescribeModelRequest(model=pb.ModelRef(name="none"))))
    assert unknown.code() is StatusCode.NOT_FOUND


def test_a_server_that_ends_takes_nothing_more(served: Any, stub: RestorationStub, upload: Upload, png: bytes) -> None:
    served.answers.draining = True
    try:
        for call in (
            lambda: stub.Restore(pb.RestoreRequest(image=png)),
            lambda: list(stub.RestoreStream(iter(upload(png)))),
        ):
            error = refused(call)
            assert error.code() is StatusCode.UNAVAILABLE
            assert "shutting down" in error.details()
    finally:
        served.answers.draining = False


@pytest.mark.parametrize("method", ["Restore", "RestoreStream"])
def test_what_is_no_message_is_the_callers_fault(served: Any, method: str) -> None:
    logged = len(served.logged)
    with grpc.insecure_channel(served.address) as channel:
        call = channel.stream_stream(f"/lqhq.v1.Restoration/{method}")(iter([b"\x0a\xff\xff"]), timeout=5)
        assert call.code() is StatusCode.INVALID_ARGUMENT
    assert len(served.logged) == logged
