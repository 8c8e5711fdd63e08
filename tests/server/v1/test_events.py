"""What a stream hears: every field of an outcome, and a result in chunks."""

from __future__ import annotations

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from lqhq.server.picture_files import PictureFiles
from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.server.restoring.ask import Form, Outcome, Restored, Times
from lqhq.server.v1.events import outcome_of, send_result

OUTCOME = Outcome(
    id="i",
    model="m",
    version=2,
    bundle_sha256="ab" * 32,
    result=Form(4, 5, 3, 16),
    format="tiff",
    schedule="fast",
    seed=2**64 - 1,
    tile=(64, 32),
    overlap=8,
    blend="each",
    rules="original",
    prior="tile",
    color_fix="wavelet",
    precision="fp16",
    engine="tensorrt",
    device="cuda:0",
    works=9,
    times=Times(1.0, 2.0, 3.0, 4.0),
)


class Heard:
    """Stands for a `Writer`."""

    def __init__(self) -> None:
        self.events: list[pb.RestoreEvent] = []

    async def write(self, message: pb.RestoreEvent) -> None:
        self.events.append(message)


def test_every_field_of_an_outcome() -> None:
    message = outcome_of(OUTCOME)
    assert {field.name for field, _ in message.ListFields()} == set(message.DESCRIPTOR.fields_by_name)
    assert (message.format, message.blend, message.rules) == (pb.IMAGE_FORMAT_TIFF, pb.BLEND_EACH, pb.RULES_ORIGINAL)
    assert (message.prior, message.color_fix) == (pb.PRIOR_TILE, pb.COLOR_FIX_WAVELET)
    assert (message.tile_height, message.tile_width) == (64, 32)
    assert (message.decode_s, message.queue_s, message.run_s, message.encode_s) == (1.0, 2.0, 3.0, 4.0)
    assert message.shape == pb.ImageShape(height=4, width=5, channels=3, bit_depth=16)


def test_what_a_model_lacks_is_unspecified() -> None:
    message = outcome_of(replace(OUTCOME, prior="", schedule=""))
    assert (message.prior, message.schedule) == (pb.PRIOR_UNSPECIFIED, "")


def test_planted_word_is_seen() -> None:
    with pytest.raises(ValueError, match="BLEND_SOON"):
        outcome_of(replace(OUTCOME, blend="soon"))


@pytest.mark.parametrize(("size", "chunks"), [(1, [1]), (10, [10]), (11, [10, 1]), (25, [10, 10, 5])])
def test_results_in_chunks(size: int, chunks: list[int]) -> None:
    heard, data = Heard(), bytes(range(size))

    async def run() -> None:
        writer: Any = heard
        with ThreadPoolExecutor(1) as pool:
            await send_result(writer, PictureFiles(pool, pool), Restored(data, OUTCOME), 10)

    asyncio.run(run())
    first, *parts, last = heard.events
    assert (first.result.bytes, first.result.format, first.result.shape.width) == (size, pb.IMAGE_FORMAT_TIFF, 5)
    assert [len(event.chunk.data) for event in parts] == chunks
    assert [event.chunk.offset for event in parts] == [sum(chunks[:index]) for index in range(len(chunks))]
    assert b"".join(event.chunk.data for event in parts) == data
    assert last.done == pb.Done(sha256=hashlib.sha256(data).hexdigest(), outcome=outcome_of(OUTCOME))
