"""One V2 request: read by its model's manifest, restored, replied to."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from functools import partial
from typing import Any

from numpy.typing import NDArray

from lqhq.runtime.geometry import Box
from lqhq.server.models.models import Models
from lqhq.server.picture_files import PictureFiles
from lqhq.server.protos.inference_pb2 import ModelInferRequest, ModelInferResponse, ModelStreamInferResponse
from lqhq.server.restoring.ask import Accepted, Ask, Follower, Outcome
from lqhq.server.restoring.restoring import Restoring
from lqhq.server.v2.options import Delivery
from lqhq.server.v2.replies import Chosen, Head, progress_reply, result_reply, tile_reply
from lqhq.server.v2.requests import MAX_ID, Limits, read_request, version_of
from lqhq.server.writer import Writer

__all__ = ["Inferring", "StreamFollower", "id_of"]

LARGE = 1 << 18  # elements of a tensor whose values are not checked on the event loop


class Inferring:
    """Answers requests one by one; a service or a stream decides what becomes of errors."""

    def __init__(self, models: Models, restoring: Restoring, files: PictureFiles, limits: Limits) -> None:
        self._models, self._restoring, self._files, self._limits = models, restoring, files, limits

    async def infer(
        self,
        request: ModelInferRequest,
        id: str,
        *,
        deadline_s: float | None,
        writer: Writer[ModelStreamInferResponse] | None = None,
    ) -> ModelInferResponse:
        """The reply with the result; progress and tiles go to the `writer` of a stream. Raises `LqhqError`.

        `id` is the request's own, or one that was made for it: replies echo the request's, which may be empty.
        """
        ask = await self._ask(request, id, deadline_s, streamed=writer is not None)
        head = (request.model_name, ask.version, request.id)
        follower: Follower | None = None
        if writer is not None and (ask.progress or ask.tiles):
            follower = StreamFollower(head, ask.delivery, writer, self._files)
        image, outcome = await self._restoring.restore(ask, follower)
        return result_reply((outcome.model, outcome.version, request.id), image, chosen=_chosen(outcome))

    async def _ask(self, request: ModelInferRequest, id: str, deadline_s: float | None, *, streamed: bool) -> Ask:
        with self._models.lease(request.model_name, version_of(request.model_version)) as served:
            read = partial(read_request, request, served.bundle.manifest, self._limits, streamed=streamed)
            largest = max((math.prod(tensor.shape) for tensor in request.inputs), default=0)
            asked = await self._files.run(read, largest) if largest > LARGE else read()
        return Ask(
            id=id,
            model=asked.model,
            version=asked.version,
            image=asked.image,
            mask=asked.mask,
            options=asked.options,
            delivery=asked.delivery,
            urgency=asked.urgency,
            deadline_s=deadline_s,
            progress=asked.progress,
            tiles=asked.tiles,
        )


def id_of(request: ModelInferRequest) -> str:
    """The request's id, or one for the log where it has none, or one that is too long to be taken."""
    return request.id if 0 < len(request.id) <= MAX_ID else secrets.token_hex(8)


class StreamFollower:
    """Writes progress and tiles as they come: results are in the order of the requests, these need not be."""

    def __init__(
        self, head: Head, delivery: Delivery, writer: Writer[ModelStreamInferResponse], files: PictureFiles
    ) -> None:
        self._head, self._delivery, self._writer, self._files = head, delivery, writer, files

    async def accepted(self, accepted: Accepted) -> None:
        """This protocol has no word for it."""

    async def progress(self, done: int, total: int, left_s: float) -> None:
        await self._writer.write(progress_reply(self._head, done, total))

    async def tile(self, box: Box, pixels: NDArray[Any]) -> None:
        delivery = self._delivery
        if delivery.format == "tensor":
            await self._writer.write(tile_reply(self._head, box, pixels))
            return
        file = await self._files.encoded(pixels, delivery.format, quality=delivery.quality)
        await self._writer.write(tile_reply(self._head, box, file))


def _chosen(outcome: Outcome) -> Mapping[str, Chosen]:
    """What was taken after all defaults; what the model does not have is left out."""
    chosen: dict[str, Chosen] = {
        "schedule": outcome.schedule,
        "seed": outcome.seed,
        "tile_height": outcome.tile[0],
        "tile_width": outcome.tile[1],
        "overlap": outcome.overlap,
        "blend": outcome.blend,
        "rules": outcome.rules,
        "prior": outcome.prior,
        "color_fix": outcome.color_fix,
        "precision": outcome.precision,
        "engine": outcome.engine,
        "device": outcome.device,
        "works": outcome.works,
        "queue_s": outcome.times.queue_s,
        "run_s": outcome.times.run_s,
    }
    return {key: value for key, value in chosen.items() if value != ""}
