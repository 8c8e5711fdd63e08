"""Results into V2 replies.

Models are not decoupled: a request has one reply, on a stream too, in the order of the requests. So one model serves
unary calls and streams, and clients that look at the configuration before they call (load generators do) take the plain
way. A streamed request may ask for more: `progress` and `tiles`, parameters of the request, put replies before its
result that carry `triton_final_response` false and say what they are in the parameter `event`:

* "progress": `done` and `total`, network calls over tiles; no output.
* "tile": `top`, `left`, `height`, `width` in pixels of the result, whose values are final; output `image` of that box.

The other way, a second decoupled name for each model, would double models, statistics and metrics for what a client
knows when it asks. Replies of one request are in order; where several are on a stream, `id` tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.errors import LimitError
from lqhq.runtime.geometry import Box
from lqhq.server.protos.inference_pb2 import InferParameter, ModelInferResponse, ModelStreamInferResponse
from lqhq.server.v2.requests import IMAGE
from lqhq.server.v2.tensors import datatype_of, raw_of

__all__ = [
    "FINAL",
    "MAX_BYTES",
    "Chosen",
    "Head",
    "failed_reply",
    "progress_reply",
    "result_reply",
    "streamed",
    "tile_reply",
]

FINAL = "triton_final_response"
MAX_BYTES = 2**31 - 1 - 65536  # of an output: protobuf ends a message at 2 GiB, and some of it is for the rest

Chosen = bool | int | float | str
Head = tuple[str, int, str]  # model, version, id of the request


def result_reply(
    head: Head, result: NDArray[Any] | bytes, *, chosen: Mapping[str, Chosen] | None = None
) -> ModelInferResponse:
    """The reply with the image: `[H, W, C]` uint8, uint16 or float32, or a file's bytes, which travel as BYTES `[1]`.

    `chosen` are parameters that say what was taken. Raises `LimitError` for what no message can hold.
    """
    size = len(result) if isinstance(result, bytes) else result.nbytes
    if size > MAX_BYTES:
        raise LimitError(
            "output 'image'",
            found=f"{size} bytes",
            expected=f"at most {MAX_BYTES}, what one message holds",
            mend="Ask for a file with output_format, or take lqhq.v1.Restoration.RestoreStream.",
        )
    array = np.array([result], object) if isinstance(result, bytes) else result
    reply = _reply(head, chosen or {})
    reply.outputs.add(name=IMAGE, datatype=datatype_of(array), shape=array.shape)
    reply.raw_output_contents.append(raw_of(array))
    return reply


def progress_reply(head: Head, done: int, total: int) -> ModelStreamInferResponse:
    """Says that `done` of `total` network calls over tiles are done."""
    return streamed(_reply(head, {"event": "progress", "done": done, "total": total}), final=False)


def tile_reply(head: Head, box: Box, tile: NDArray[Any] | bytes) -> ModelStreamInferResponse:
    """A box of the result, in the form that the result will have."""
    place: dict[str, Chosen] = {"event": "tile", "top": box.top, "left": box.left}
    place |= {"height": box.height, "width": box.width}
    return streamed(result_reply(head, tile, chosen=place), final=False)


def streamed(reply: ModelInferResponse, *, final: bool) -> ModelStreamInferResponse:
    """`reply` as a message of a stream, marked as its request's last or not."""
    reply.parameters[FINAL].bool_param = final
    return ModelStreamInferResponse(infer_response=reply)


def failed_reply(head: Head, details: str) -> ModelStreamInferResponse:
    """The last reply of a request that failed; the stream goes on with the others."""
    message = streamed(_reply(head, {}), final=True)
    message.error_message = details or "failed"  # empty means that it did not
    return message


def _reply(head: Head, parameters: Mapping[str, Chosen]) -> ModelInferResponse:
    model, version, request = head
    reply = ModelInferResponse(model_name=model, model_version=str(version) if version else "", id=request)
    for key, value in parameters.items():
        _put(reply.parameters[key], value)
    return reply


def _put(parameter: InferParameter, value: Chosen) -> None:
    if isinstance(value, bool):
        parameter.bool_param = value
    elif isinstance(value, str):
        parameter.string_param = value
    elif isinstance(value, float):
        parameter.double_param = value
    elif value < 2**63:
        parameter.int64_param = value
    else:  # a seed may be above what int64 holds
        parameter.uint64_param = value
