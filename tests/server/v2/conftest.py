"""Manifests of small bundles, and requests as the stock client builds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import force_setattr
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc._utils import _get_inference_request
from tritonclient.utils import np_to_triton_dtype

from lqhq.runtime.manifest import Manifest, Prompt, manifest_from_json
from lqhq.server.protos.inference_pb2 import ModelInferRequest
from lqhq.server.v2.requests import Limits


@pytest.fixture
def manifest(tiny_bundle: Callable[..., Path]) -> Manifest:
    """Of a bundle that takes an image alone."""
    return manifest_from_json((tiny_bundle() / "manifest.json").read_bytes())


@pytest.fixture
def masked(guided_bundle: Callable[..., Path]) -> Manifest:
    """Of a bundle that needs a mask."""
    return manifest_from_json((guided_bundle(masked=True) / "manifest.json").read_bytes())


@pytest.fixture
def prompted(manifest: Manifest) -> Manifest:
    """Of a bundle that reads a prompt: that one fact, on a manifest that could not have it."""
    prompt = Prompt(tokenizer="assets/tokenizer.json", length=2, template="{tags}{prompt}", empty=(0, 1))
    force_setattr(manifest, "prompt", prompt)
    return manifest


@pytest.fixture
def limits() -> Limits:
    return Limits(max_pixels=10_000, max_file_bytes=5000)


def stock_input(name: str, array: NDArray[Any]) -> InferInput:
    """`array` as the stock client sends it."""
    tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    return tensor


@pytest.fixture
def stock_request() -> Callable[..., ModelInferRequest]:
    """A function that builds a request with the stock client and reads it with our messages, as a wire would.

    `stock_request(image=array, mask=array, outputs=["image"], id="7", version="", priority=0, timeout=None, **options)`
    """

    def build(
        outputs: Sequence[str] | None = None,
        *,
        id: str = "7",
        version: str = "",
        priority: int = 0,
        timeout: int | None = None,
        sequence: int = 0,
        parameters: dict[str, Any] | None = None,
        **arrays: NDArray[Any],
    ) -> ModelInferRequest:
        sent = _get_inference_request(
            model_name="tiny",
            inputs=[stock_input(name, array) for name, array in arrays.items()],
            model_version=version,
            request_id=id,
            outputs=None if outputs is None else [InferRequestedOutput(name) for name in outputs],
            sequence_id=sequence,
            sequence_start=False,
            sequence_end=False,
            priority=priority,
            timeout=timeout,
            parameters=parameters,
        )
        return ModelInferRequest.FromString(sent.SerializeToString())

    return build


@pytest.fixture
def image() -> NDArray[np.uint8]:
    return np.random.default_rng(7).integers(0, 256, (5, 4, 3), np.uint8)
