"""A ModelInfer request into an image and what is asked of it.

Inputs: `image`, as a tensor `[H, W, C]` of UINT8, UINT16 or FP32 in [0, 1], or as a file, BYTES `[1]`; `mask` for
bundles that need one, as a tensor `[H, W]` or `[H, W, 1]` of BOOL, UINT8, UINT16 or FP32, or as a file; `prompt` for
bundles that read one, UTF-8 as BYTES `[1]`. Output: `image`, as a tensor of the same dtype, or as a file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from lqhq.runtime.errors import LimitError
from lqhq.runtime.image_array import check_image
from lqhq.runtime.manifest import Manifest
from lqhq.server.protos.inference_pb2 import ModelInferRequest
from lqhq.server.v2.errors import RequestError, UnsupportedError
from lqhq.server.v2.options import Delivery, Options, Urgency
from lqhq.server.v2.parameters import read_parameters
from lqhq.server.v2.tensors import Tensor, read_tensors

__all__ = [
    "IMAGE",
    "IMAGE_DATATYPES",
    "MASK",
    "MASK_DATATYPES",
    "PROMPT",
    "InferRequest",
    "Limits",
    "inputs_of",
    "read_request",
    "version_of",
]

IMAGE, MASK, PROMPT = "image", "mask", "prompt"
IMAGE_DATATYPES = ("UINT8", "UINT16", "FP32", "BYTES")
MASK_DATATYPES = ("BOOL", "UINT8", "UINT16", "FP32", "BYTES")
MAX_ID = 256  # characters; ids are echoed in every reply and stand in the log
MAX_PROMPT = 4096  # bytes; what models read is a few hundred
MAX_VERSION = 2**63 - 1

Picture = NDArray[Any] | bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`max_pixels` of an image that comes as a tensor, `max_file_bytes` of one that comes as a file; both above 0."""

    max_pixels: int
    max_file_bytes: int

    def __post_init__(self) -> None:
        if self.max_pixels < 1 or self.max_file_bytes < 1:
            raise ValueError(f"{self}: limits are above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """A request whose form is right. Pictures are arrays, or the bytes of a file that nobody has looked into.

    Raw tensors are read-only. `version` 0 is the newest. Whether the bundle takes mask, prompt and
    options, the runtime says.
    """

    id: str
    model: str
    version: int
    image: Picture
    mask: Picture | None
    options: Options
    delivery: Delivery
    urgency: Urgency
    progress: bool
    tiles: bool


def inputs_of(manifest: Manifest) -> tuple[str, ...]:
    """The inputs that the bundle takes; the prompt alone may be left out."""
    return (IMAGE, *([MASK] if manifest.masked else []), *([PROMPT] if manifest.prompt else []))


def version_of(text: str) -> int:
    """A model's version; 0, the newest, where `text` is empty. Raises `RequestError` for what is no whole number."""
    if not text:
        return 0
    if not re.fullmatch("[0-9]{1,19}", text) or not 1 <= int(text) <= MAX_VERSION:
        raise RequestError(
            "model_version", found=repr(text[:40]), expected="a whole number from 1", mend="Leave it out: the newest."
        )
    return int(text)


def read_request(request: ModelInferRequest, manifest: Manifest, limits: Limits, *, streamed: bool) -> InferRequest:
    """Check `request` and take it apart; `streamed` says that it came by ModelStreamInfer.

    Raises `RequestError`, `OptionError`, `ImageError`, `LimitError`, `UnsupportedError`. Beside the request itself,
    memory is taken for tensors that did not come raw only.
    """
    if len(request.id) > MAX_ID:
        raise RequestError(
            "id", found=f"{len(request.id)} characters", expected=f"at most {MAX_ID}", mend="Choose a shorter one."
        )
    version = version_of(request.model_version)
    _check_outputs(request)
    tensors = read_tensors(request)
    _check_names(tensors, manifest)
    image = _picture(tensors[IMAGE], IMAGE_DATATYPES, limits)
    asked = read_parameters(
        request.parameters,
        native="png" if isinstance(image, bytes) else "tensor",
        prompt=_prompt(tensors[PROMPT]) if PROMPT in tensors else None,
        streamed=streamed,
    )
    if not isinstance(image, bytes):
        check_image(image)
    return InferRequest(
        id=request.id,
        model=request.model_name,
        version=version,
        image=image,
        mask=_picture(tensors[MASK], MASK_DATATYPES, limits) if MASK in tensors else None,
        options=asked.options,
        delivery=asked.delivery,
        urgency=asked.urgency,
        progress=asked.progress,
        tiles=asked.tiles,
    )


def _check_names(tensors: dict[str, Tensor], manifest: Manifest) -> None:
    takes = inputs_of(manifest)
    for name in tensors:
        if name not in takes:
            raise RequestError(
                f"input {name[:80]!r}",
                found="an input that is not known",
                expected=f"one of {', '.join(takes)}",
                mend="ModelMetadata lists the inputs of a model.",
            )
    for name in takes:
        if name not in tensors and name != PROMPT:
            raise RequestError(
                f"input {name!r}",
                found="none",
                expected=f"the input: {manifest.name!r} needs it",
                mend="ModelMetadata lists the inputs of a model.",
            )


def _check_outputs(request: ModelInferRequest) -> None:
    for index, output in enumerate(request.outputs):
        where = f"output {output.name[:80]!r}"
        if output.name != IMAGE or index:
            raise RequestError(
                where,
                found="an output that is not known" if output.name != IMAGE else "two of that name",
                expected=f"{IMAGE!r}, once",
                mend="Leave outputs out: all are sent.",
            )
        for key in sorted(output.parameters):
            raise UnsupportedError(
                where,
                found=f"parameter {key[:80]!r}",
                expected="none: neither shared memory nor classification is offered",
                mend="Leave it out; the form of the output is a parameter of the request, output_format.",
            )


def _picture(tensor: Tensor, datatypes: tuple[str, ...], limits: Limits) -> Picture:
    where = f"input {tensor.name!r}"
    if tensor.datatype not in datatypes:
        raise RequestError(
            where,
            found=tensor.datatype,
            expected=" or ".join(datatypes),
            mend="Convert the tensor, or send the file as BYTES.",
        )
    if tensor.datatype == "BYTES":
        data = _single(where, tensor)
        if len(data) > limits.max_file_bytes:
            raise LimitError(
                where,
                found=f"{len(data)} bytes",
                expected=f"at most {limits.max_file_bytes}",
                mend="Send a smaller file.",
            )
        return data
    height, width = tensor.array.shape[:2] if tensor.array.ndim >= 2 else (1, tensor.array.size)
    if height * width > limits.max_pixels:
        raise LimitError(
            where,
            found=f"{width} x {height} pixels",
            expected=f"at most {limits.max_pixels} pixels",
            mend="Cut the image into parts.",
        )
    return tensor.array


def _single(where: str, tensor: Tensor) -> bytes:
    if tensor.array.shape != (1,):
        raise RequestError(
            where, found=f"BYTES of shape {list(tensor.array.shape)}", expected="[1]", mend="Send one element."
        )
    value = tensor.array[0]
    assert isinstance(value, bytes)
    return value


def _prompt(tensor: Tensor) -> str:
    where = f"input {tensor.name!r}"
    if tensor.datatype != "BYTES":
        raise RequestError(where, found=tensor.datatype, expected="BYTES", mend="Send the text as UTF-8.")
    text = _single(where, tensor)
    if len(text) > MAX_PROMPT:
        raise LimitError(
            where, found=f"{len(text)} bytes", expected=f"at most {MAX_PROMPT}", mend="Models read a few dozen words."
        )
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise RequestError(
            where, found=f"a byte {error.object[error.start]:#04x}", expected="UTF-8", mend="Encode the text as UTF-8."
        ) from error
