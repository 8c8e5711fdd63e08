"""Metadata lists the inputs that requests are held to."""

from __future__ import annotations

from lqhq.runtime.manifest import Manifest
from lqhq.server.protos.inference_pb2 import ModelMetadataResponse
from lqhq.server.v2.metadata import EXTENSIONS, INPUTS, OUTPUT, model_metadata, server_metadata
from lqhq.server.v2.requests import IMAGE_DATATYPES, MASK_DATATYPES


def tensors(reply: ModelMetadataResponse) -> dict[str, tuple[str, list[int]]]:
    return {one.name: (one.datatype, list(one.shape)) for one in reply.inputs}


def test_a_bundle_that_takes_an_image(manifest: Manifest) -> None:
    reply = model_metadata("photos", [2, 1], manifest)
    assert (reply.name, list(reply.versions), reply.platform) == ("photos", ["2", "1"], "lqhq_bundle")
    assert tensors(reply) == {"image": ("UINT8", [-1, -1, -1])}
    assert [(one.name, one.datatype, list(one.shape)) for one in reply.outputs] == [("image", "UINT8", [-1, -1, -1])]


def test_a_bundle_that_needs_a_mask(masked: Manifest) -> None:
    assert tensors(model_metadata("m", [1], masked)) == {"image": ("UINT8", [-1, -1, -1]), "mask": ("UINT8", [-1, -1])}


def test_a_bundle_that_reads_a_prompt(prompted: Manifest) -> None:
    assert tensors(model_metadata("m", [1], prompted))["prompt"] == ("BYTES", [1])


def test_what_is_described_is_taken() -> None:
    assert INPUTS["image"].datatype in IMAGE_DATATYPES
    assert INPUTS["mask"].datatype in MASK_DATATYPES
    assert OUTPUT.datatype in IMAGE_DATATYPES


def test_the_server() -> None:
    reply = server_metadata("1.2.3")
    assert (reply.name, reply.version, tuple(reply.extensions)) == ("lqhq", "1.2.3", EXTENSIONS)
    assert not {"system_shared_memory", "sequence", "classification", "trace"} & set(reply.extensions)
