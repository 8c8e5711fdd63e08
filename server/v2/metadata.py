"""What the server and a model say of themselves: ServerMetadata and ModelMetadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from lqhq.runtime.manifest import Manifest
from lqhq.server.protos.inference_pb2 import ModelMetadataResponse, ServerMetadataResponse
from lqhq.server.v2.requests import IMAGE, MASK, PROMPT, inputs_of

__all__ = ["EXTENSIONS", "INPUTS", "OUTPUT", "PLATFORM", "Described", "model_metadata", "server_metadata"]

PLATFORM = "lqhq_bundle"
# Triton's names for what is really there; tools decide by them what they ask for.
EXTENSIONS = (
    "binary_tensor_data",
    "model_configuration",
    "model_repository",
    "parameters",
    "schedule_policy",
    "statistics",
)


class Described(NamedTuple):
    """A tensor as clients read it; -1 is any size. What else an image may come as, the configuration says."""

    name: str
    datatype: str
    shape: tuple[int, ...]


INPUTS: Mapping[str, Described] = {
    IMAGE: Described(IMAGE, "UINT8", (-1, -1, -1)),
    MASK: Described(MASK, "UINT8", (-1, -1)),
    PROMPT: Described(PROMPT, "BYTES", (1,)),
}
OUTPUT = Described(IMAGE, "UINT8", (-1, -1, -1))


def server_metadata(version: str) -> ServerMetadataResponse:
    """The reply to ServerMetadata; `version` is that of lqhq."""
    return ServerMetadataResponse(name="lqhq", version=version, extensions=EXTENSIONS)


def model_metadata(name: str, versions: Iterable[int], manifest: Manifest) -> ModelMetadataResponse:
    """The reply to ModelMetadata for the model served as `name`; `versions` are those that are served."""
    return ModelMetadataResponse(
        name=name,
        versions=[str(version) for version in versions],
        platform=PLATFORM,
        inputs=_tensors([INPUTS[known] for known in inputs_of(manifest)]),
        outputs=_tensors([OUTPUT]),
    )


def _tensors(described: Sequence[Described]) -> list[ModelMetadataResponse.TensorMetadata]:
    return [
        ModelMetadataResponse.TensorMetadata(name=one.name, datatype=one.datatype, shape=one.shape) for one in described
    ]
