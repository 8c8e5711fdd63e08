"""Requests of the stock client become images and options; what is wrong is told by the input's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lqhq.runtime.errors import ImageError, LimitError, LqhqError
from lqhq.runtime.manifest import Manifest
from lqhq.server.protos.inference_pb2 import ModelInferRequest
from lqhq.server.v2.errors import RequestError, UnsupportedError
from lqhq.server.v2.options import Options
from lqhq.server.v2.requests import Limits, inputs_of, read_request, version_of

Build = Callable[..., ModelInferRequest]
PNG = b"\x89PNG\r\n\x1a\n rest"


def text(*values: bytes) -> NDArray[Any]:
    return np.array(values, object)


def read(request: ModelInferRequest, manifest: Manifest, limits: Limits, *, streamed: bool = False) -> Any:
    return read_request(request, manifest, limits, streamed=streamed)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_tensors(stock_request: Build, manifest: Manifest, limits: Limits, dtype: Any, channels: int) -> None:
    image = np.random.default_rng(1).random((5, 4, channels)) * (1 if dtype == np.float32 else 255)
    asked = read(stock_request(image=image.astype(dtype)), manifest, limits)
    assert asked.image.dtype == dtype
    np.testing.assert_array_equal(asked.image, image.astype(dtype))
    assert (asked.delivery.format, asked.mask, asked.id, asked.model, asked.version) == ("tensor", None, "7", "tiny", 0)


def test_files(stock_request: Build, manifest: Manifest, limits: Limits) -> None:
    asked = read(stock_request(image=text(PNG), parameters={"seed": 3}), manifest, limits)
    assert (asked.image, asked.delivery.format, asked.options) == (PNG, "png", Options(seed=3))


def test_a_file_may_come_back_as_a_tensor(stock_request: Build, manifest: Manifest, limits: Limits) -> None:
    request = stock_request(image=text(PNG), parameters={"output_format": "tensor"})
    assert read(request, manifest, limits).delivery.format == "tensor"


def test_outputs_by_name(stock_request: Build, manifest: Manifest, limits: Limits, image: NDArray[Any]) -> None:
    assert read(stock_request(["image"], image=image), manifest, limits).id == "7"


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1)])
def test_masks(
    stock_request: Build, masked: Manifest, limits: Limits, image: NDArray[Any], dtype: Any, shape: tuple[int, ...]
) -> None:
    hole = (np.arange(20).reshape(shape) % 2).astype(dtype)
    np.testing.assert_array_equal(read(stock_request(image=image, mask=hole), masked, limits).mask, hole)


def test_a_mask_may_be_a_file(stock_request: Build, masked: Manifest, limits: Limits, image: NDArray[Any]) -> None:
    assert read(stock_request(image=image, mask=text(PNG)), masked, limits).mask == PNG


def test_prompts(stock_request: Build, prompted: Manifest, limits: Limits, image: NDArray[Any]) -> None:
    request = stock_request(image=image, prompt=text("stones, trees \u00e9".encode()))
    assert read(request, prompted, limits).options.prompt == "stones, trees \u00e9"
    assert read(stock_request(image=image), prompted, limits).options.prompt is None
    assert inputs_of(prompted) == ("image", "prompt")


@pytest.mark.parametrize("prompt", [text(b"\xff"), text(b"a", b"b"), np.zeros(1, np.uint8), text(b"a" * 4097)])
def test_prompts_that_are_none(
    stock_request: Build, prompted: Manifest, limits: Limits, image: NDArray[Any], prompt: NDArray[Any]
) -> None:
    with pytest.raises((RequestError, LimitError), match="input 'prompt'"):
        read(stock_request(image=image, prompt=prompt), prompted, limits)


GOOD = np.zeros((5, 4, 3), np.uint8)
WRONG: dict[str, tuple[dict[str, Any], type[LqhqError], str]] = {
    "no image": ({}, RequestError, "input 'image': found none"),
    "unknown input": ({"image": GOOD, "lq": GOOD}, RequestError, "input 'lq'"),
    "a mask not taken": ({"image": GOOD, "mask": GOOD[:, :, 0]}, RequestError, "input 'mask'"),
    "half precision": ({"image": GOOD.astype(np.float16)}, RequestError, "found FP16"),
    "two files": ({"image": text(PNG, PNG)}, RequestError, "shape [2]"),
    "a batch axis": ({"image": GOOD[None]}, ImageError, "[H, W, C]"),
    "no channel axis": ({"image": GOOD[:, :, 0]}, ImageError, "[H, W, C]"),
    "five channels": ({"image": np.zeros((5, 4, 5), np.uint8)}, ImageError, "C from 1 to 4"),
    "no pixels": ({"image": np.zeros((0, 4, 3), np.uint8)}, ImageError, "no empty side"),
    "values above 1": ({"image": GOOD.astype(np.float32) + 2}, ImageError, "values in [0, 1]"),
    "no numbers": ({"image": GOOD.astype(np.float32) * np.nan}, ImageError, "values in [0, 1]"),
    "too many pixels": ({"image": np.zeros((101, 100, 3), np.uint8)}, LimitError, "at most 10000 pixels"),
    "too many in a row": ({"image": np.zeros(10_001, np.uint8)}, LimitError, "at most 10000 pixels"),
    "a long file": ({"image": text(bytes(5001))}, LimitError, "at most 5000"),
    "unknown output": ({"image": GOOD, "outputs": ["hq"]}, RequestError, "output 'hq'"),
    "one output twice": ({"image": GOOD, "outputs": ["image", "image"]}, RequestError, "output 'image'"),
    "a word for a version": ({"image": GOOD, "version": "new"}, RequestError, "model_version"),
    "a long id": ({"image": GOOD, "id": "x" * 257}, RequestError, "id: found 257"),
    "a sequence": ({"image": GOOD, "sequence": 4}, UnsupportedError, "a sequence"),
    "progress": ({"image": GOOD, "parameters": {"progress": True}}, UnsupportedError, "ModelStreamInfer"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told(stock_request: Build, manifest: Manifest, limits: Limits, name: str) -> None:
    given, kind, told = WRONG[name]
    with pytest.raises(kind) as caught:
        read(stock_request(**given), manifest, limits)
    assert told in str(caught.value)


def test_a_missing_mask(stock_request: Build, masked: Manifest, limits: Limits, image: NDArray[Any]) -> None:
    with pytest.raises(RequestError, match="input 'mask': found none"):
        read(stock_request(image=image), masked, limits)


def test_outputs_take_no_parameters(
    stock_request: Build, manifest: Manifest, limits: Limits, image: NDArray[Any]
) -> None:
    request = stock_request(["image"], image=image)
    request.outputs[0].parameters["shared_memory_region"].string_param = "r"
    with pytest.raises(UnsupportedError, match="shared_memory_region"):
        read(request, manifest, limits)


def test_streams_may_ask_for_more(
    stock_request: Build, manifest: Manifest, limits: Limits, image: NDArray[Any]
) -> None:
    request = stock_request(image=image, priority=3, timeout=2_000_000, parameters={"progress": True, "tiles": True})
    asked = read(request, manifest, limits, streamed=True)
    assert (asked.progress, asked.tiles, asked.urgency.priority, asked.urgency.timeout_s) == (True, True, 3, 2.0)


@pytest.mark.parametrize(("given", "version"), [("", 0), ("1", 1), ("12", 12), (str(2**63 - 1), 2**63 - 1)])
def test_versions(given: str, version: int) -> None:
    assert version_of(given) == version


@pytest.mark.parametrize("given", ["0", "-1", "1.0", "\u0661", "9" * 19, "1" * 20, " 1", "1\n"])
def test_versions_that_are_none(given: str) -> None:
    with pytest.raises(RequestError, match="model_version"):
        version_of(given)


def test_limits_are_above_zero() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Limits(max_pixels=0, max_file_bytes=1)
