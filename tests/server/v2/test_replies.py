"""The stock client reads our replies: tensors, files, progress, tiles and failures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.grpc import InferResult, service_pb2

from lqhq.runtime.errors import LimitError
from lqhq.runtime.geometry import Box
from lqhq.server.protos.inference_pb2 import ModelInferResponse, ModelStreamInferResponse
from lqhq.server.v2 import replies
from lqhq.server.v2.replies import FINAL, failed_reply, progress_reply, result_reply, streamed, tile_reply

HEAD = ("tiny", 3, "7")


def received(reply: ModelInferResponse) -> InferResult:
    """`reply` as the stock client has it."""
    return InferResult(service_pb2.ModelInferResponse.FromString(reply.SerializeToString()))


def received_from_stream(message: ModelStreamInferResponse) -> Any:
    return service_pb2.ModelStreamInferResponse.FromString(message.SerializeToString())


def parameters(reply: Any) -> dict[str, Any]:
    return {key: getattr(value, value.WhichOneof("parameter_choice")) for key, value in reply.parameters.items()}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_tensors(dtype: Any) -> None:
    image = (np.random.default_rng(5).random((3, 4, 3)) * 200).astype(dtype)
    got = received(result_reply(HEAD, image)).as_numpy("image")
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, image)


def test_what_is_not_contiguous_travels_row_by_row() -> None:
    image: NDArray[Any] = np.arange(24, dtype=">u2").reshape(2, 4, 3)[:, ::-1]
    np.testing.assert_array_equal(received(result_reply(HEAD, image)).as_numpy("image"), image)


def test_files() -> None:
    got = received(result_reply(HEAD, b"file\0\0")).as_numpy("image")
    assert (got.shape, got[0]) == ((1,), b"file\0\0")


def test_the_head_is_echoed() -> None:
    reply = received(result_reply(HEAD, b"f", chosen={"seed": 2**64 - 1, "schedule": "fast", "tile": 64, "run_s": 0.5}))
    got = reply.get_response()
    assert (got.model_name, got.model_version, got.id) == ("tiny", "3", "7")
    assert parameters(got) == {"seed": 2**64 - 1, "schedule": "fast", "tile": 64, "run_s": 0.5}


def test_one_blob_for_each_output_and_no_typed_contents() -> None:
    """A typed reply would be read by no stock client: the planted one makes `as_numpy` raise."""
    reply = result_reply(HEAD, np.zeros((1, 2, 3), np.float32))
    assert len(reply.raw_output_contents) == len(reply.outputs) == 1
    assert not reply.outputs[0].HasField("contents")
    del reply.raw_output_contents[:]
    reply.outputs[0].contents.fp32_contents.extend([0.0] * 6)
    with pytest.raises(ValueError, match="reshape"):
        received(reply).as_numpy("image")


def test_what_no_message_holds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies, "MAX_BYTES", 5)
    with pytest.raises(LimitError, match="found 6 bytes"):
        result_reply(HEAD, np.zeros((1, 2, 3), np.uint8))
    with pytest.raises(LimitError, match="found 6 bytes"):
        result_reply(HEAD, bytes(6))


@pytest.mark.parametrize("final", [True, False])
def test_streamed_replies_say_whether_they_are_the_last(final: bool) -> None:
    message = received_from_stream(streamed(result_reply(HEAD, b"f"), final=final))
    assert message.error_message == ""
    assert parameters(message.infer_response) == {FINAL: final}


def test_progress() -> None:
    reply = received_from_stream(progress_reply(HEAD, 3, 40)).infer_response
    assert parameters(reply) == {FINAL: False, "event": "progress", "done": 3, "total": 40}
    assert (reply.id, len(reply.outputs)) == ("7", 0)


def test_tiles() -> None:
    tile = np.full((8, 6, 3), 9, np.uint8)
    reply = received_from_stream(tile_reply(HEAD, Box(16, 32, 8, 6), tile)).infer_response
    place = {"top": 16, "left": 32, "height": 8, "width": 6}
    assert parameters(reply) == {FINAL: False, "event": "tile", **place}
    np.testing.assert_array_equal(InferResult(reply).as_numpy("image"), tile)


@pytest.mark.parametrize("details", ["image: found nothing; expected an image. Send one.", ""])
def test_failures_name_their_request(details: str) -> None:
    """An empty text would pass for a success."""
    message = received_from_stream(failed_reply(("tiny", 0, "9"), details))
    assert message.error_message == (details or "failed")
    reply = message.infer_response
    assert (reply.id, reply.model_name, reply.model_version) == ("9", "tiny", "")
    assert parameters(reply) == {FINAL: True}
