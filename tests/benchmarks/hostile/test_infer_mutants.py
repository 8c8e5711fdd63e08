"""What is said to be wrong is refused by the server's own reading; what is no image is refused as one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hostile.infer_mutants import INFER_CHANGES, InferChange, broken_files
from measuring.scene import scene
from serving.bare_loop import encoded_scene
from serving.callers import bytes_request, tensor_request

from lqhq.runtime import open_bundle
from lqhq.runtime.errors import ImageError, LimitError, LqhqError
from lqhq.runtime.image_file import read_image_bytes
from lqhq.server.protos.inference_pb2 import ModelInferRequest
from lqhq.server.v2.requests import Limits, read_request

SEED = 20_261_205
DRAWS = 25
LIMITS = Limits(max_pixels=1 << 20, max_file_bytes=1 << 20)
LATER = {"_model", "_version", "_parameter_text"}  # also told by what is served, not by the message alone


@pytest.mark.parametrize("change", INFER_CHANGES, ids=lambda change: change.__name__)
def test_what_is_surely_wrong_is_refused(tiny_bundle: Callable[..., Path], change: InferChange) -> None:
    if change.__name__ in LATER:
        pytest.skip("test_serve_faults.py asks a server")
    manifest, draw = open_bundle(tiny_bundle()).manifest, np.random.default_rng(SEED)
    good = [tensor_request("tiny", scene(8, 8)), bytes_request("tiny", encoded_scene(8))]
    for at in range(DRAWS):
        request = ModelInferRequest.FromString(good[at % 2])
        if change(request, draw):
            with pytest.raises(LqhqError):
                read_request(request, manifest, LIMITS, streamed=False)


def test_without_a_change_nothing_is_refused(tiny_bundle: Callable[..., Path]) -> None:
    """The planted fault: if this raised, the test above would say nothing."""
    manifest = open_bundle(tiny_bundle()).manifest
    read_request(ModelInferRequest.FromString(tensor_request("tiny", scene(8, 8))), manifest, LIMITS, streamed=False)


@pytest.mark.parametrize("change", INFER_CHANGES, ids=lambda change: change.__name__)
def test_the_seed_decides(change: InferChange) -> None:
    found = []
    for _ in range(2):
        request = ModelInferRequest.FromString(tensor_request("tiny", scene(8, 8)))
        change(request, np.random.default_rng(SEED))
        found.append(request.SerializeToString(deterministic=True))
    assert found[0] == found[1] != tensor_request("tiny", scene(8, 8))


def test_a_broken_file_is_no_image() -> None:
    draw, good = np.random.default_rng(SEED), encoded_scene(24)
    for _ in range(120):
        with pytest.raises((ImageError, LimitError)):
            read_image_bytes(broken_files(draw, good), name="image", max_pixels=1 << 20)
    assert read_image_bytes(good, name="image", max_pixels=1 << 20).pixels.shape == (24, 24, 3)
