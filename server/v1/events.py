"""What a stream of lqhq.v1 hears of its request: accepted, progress, tiles, the result in chunks."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from lqhq.runtime.geometry import Box
from lqhq.server.picture_files import PictureFiles
from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.server.restoring.ask import Accepted, Form, Outcome, Restored
from lqhq.server.v1.enum_words import number_of
from lqhq.server.writer import Writer

__all__ = ["Events", "outcome_of", "send_result", "shape_of"]


class Events:
    """A `Follower` that writes `RestoreEvent`s. One that waits for a slow client ends by the writer's error."""

    def __init__(self, writer: Writer[pb.RestoreEvent], files: PictureFiles) -> None:
        self._writer, self._files = writer, files

    async def accepted(self, accepted: Accepted) -> None:
        await self._writer.write(
            pb.RestoreEvent(
                accepted=pb.Accepted(
                    request_id=accepted.id,
                    image=shape_of(accepted.image),
                    result=shape_of(accepted.result),
                    works=accepted.works,
                    queue_s=accepted.queue_s,
                    run_s=accepted.run_s,
                )
            )
        )

    async def progress(self, done: int, total: int, left_s: float) -> None:
        await self._writer.write(pb.RestoreEvent(progress=pb.Progress(done=done, total=total, left_s=left_s)))

    async def tile(self, box: Box, pixels: NDArray[Any]) -> None:
        image = await self._files.encoded(pixels, "png")
        place = pb.Box(top=box.top, left=box.left, height=box.height, width=box.width)
        await self._writer.write(pb.RestoreEvent(tile=pb.Tile(box=place, image=image)))


async def send_result(
    writer: Writer[pb.RestoreEvent], files: PictureFiles, restored: Restored, chunk_bytes: int
) -> None:
    """The header, the chunks of the file, and done. Raises as the writer."""
    data, outcome = restored.image, outcome_of(restored.outcome)
    assert isinstance(data, bytes)
    digest = await files.sha256(data)
    header = pb.ResultHeader(bytes=len(data), format=outcome.format, shape=outcome.shape)
    await writer.write(pb.RestoreEvent(result=header))
    for offset in range(0, len(data), chunk_bytes):
        chunk = pb.Chunk(offset=offset, data=data[offset : offset + chunk_bytes])
        await writer.write(pb.RestoreEvent(chunk=chunk))
    await writer.write(pb.RestoreEvent(done=pb.Done(sha256=digest, outcome=outcome)))


def shape_of(form: Form) -> pb.ImageShape:
    """The message of a form."""
    return pb.ImageShape(height=form.height, width=form.width, channels=form.channels, bit_depth=form.bit_depth)


def outcome_of(outcome: Outcome) -> pb.Outcome:
    """The message; words that the outcome leaves empty become unspecified."""
    times = outcome.times
    return pb.Outcome(
        request_id=outcome.id,
        model=outcome.model,
        version=outcome.version,
        bundle_sha256=outcome.bundle_sha256,
        shape=shape_of(outcome.result),
        format=number_of(pb.ImageFormat, outcome.format),
        schedule=outcome.schedule,
        seed=outcome.seed,
        tile_height=outcome.tile[0],
        tile_width=outcome.tile[1],
        overlap=outcome.overlap,
        blend=number_of(pb.Blend, outcome.blend),
        rules=number_of(pb.Rules, outcome.rules),
        prior=number_of(pb.Prior, outcome.prior),
        color_fix=number_of(pb.ColorFix, outcome.color_fix),
        precision=outcome.precision,
        engine=outcome.engine,
        device=outcome.device,
        works=outcome.works,
        decode_s=times.decode_s,
        queue_s=times.queue_s,
        run_s=times.run_s,
        encode_s=times.encode_s,
    )
