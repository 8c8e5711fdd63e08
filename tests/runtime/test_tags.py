"""What the tagger sees is torch's tensor resize, read lazily; which tags are on, by strict thresholds in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from lqhq.runtime.errors import BundleError, EngineError
from lqhq.runtime.geometry import Box, Size
from lqhq.runtime.tags import Tags, tag_image

Array = NDArray[np.float32]


class Image:
    """Gives parts, and remembers which."""

    def __init__(self, height: int, width: int, seed: int = 0) -> None:
        self.pixels = np.random.default_rng(seed).random((height, width, 3), np.float32)
        self.size, self.boxes = Size(height, width), list[Box]()

    def read(self, box: Box) -> Array:
        assert box.top >= 0 <= box.left
        assert box.bottom <= self.size.height
        assert box.right <= self.size.width
        self.boxes.append(box)
        return self.pixels[box.rows, box.columns]


def torch_resize(pixels: Array, side: int, *, antialias: bool = False) -> Array:
    tensor = torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy())
    mode = {"mode": "bilinear", "align_corners": False, "antialias": antialias}
    return functional.interpolate(tensor, (side, side), **mode)[0].numpy()  # type: ignore[arg-type, no-any-return]


SIZES = [(24, 24), (7, 90), (90, 7), (48, 48), (49, 47), (1, 1), (5, 3), (200, 31), (3000, 20), (25, 5000)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_equals_torch(height: int, width: int) -> None:
    image = Image(height, width)
    found = tag_image(image.read, image.size, 24)
    assert found.shape == (3, 24, 24)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, torch_resize(image.pixels, 24), atol=2e-6)


def test_a_fault_would_show() -> None:
    """Antialiased, as newer torchvision does by default, or of the transposed image: far off."""
    image = Image(100, 60)
    found = tag_image(image.read, image.size, 24)
    assert np.abs(found - torch_resize(image.pixels, 24, antialias=True)).max() > 0.1
    assert np.abs(found - torch_resize(image.pixels.transpose(1, 0, 2), 24)).max() > 0.1


def test_a_large_image_is_read_in_narrow_bands() -> None:
    image = Image(3000, 40)
    tag_image(image.read, image.size, 24)
    assert sum(box.height for box in image.boxes) == 2 * 24
    assert max(box.height for box in image.boxes) == 2


def test_a_small_image_is_read_in_one() -> None:
    image = Image(40, 40)
    tag_image(image.read, image.size, 24)
    assert image.boxes == [Box(0, 0, 40, 40)]


def test_bands_of_a_wide_image_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image(40, 64)
    whole = tag_image(image.read, image.size, 24)
    monkeypatch.setattr("lqhq.runtime.tags.BAND", 400)
    image.boxes.clear()
    assert np.array_equal(tag_image(image.read, image.size, 24), whole)
    assert len(image.boxes) == 8


def test_overshoot_is_clipped() -> None:
    image = Image(8, 8)
    image.pixels = image.pixels * 3 - 1
    found = tag_image(image.read, image.size, 12)
    np.testing.assert_allclose(found, torch_resize(np.clip(image.pixels, 0, 1), 12), atol=2e-6)


@pytest.fixture
def lists(tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "tags.txt").write_text("cat\ngrass\nnight sky\nnever\n", encoding="utf-8")
    (tmp_path / "tag_thresholds.txt").write_text("0.65\n0.5\n0.8\n1.0\n")
    return tmp_path / "tags.txt", tmp_path / "tag_thresholds.txt"


def test_chosen_by_class_index(lists: tuple[Path, Path]) -> None:
    tags = Tags.read(*lists)
    assert tags.chosen(np.float32([9, 9, 9, 9])) == ["cat", "grass", "night sky"]
    assert tags.chosen(np.float32([0.61, -0.1, 1.4, 0])) == ["night sky"]
    assert tags.chosen(np.float32([-9, -9, -9, -9])) == []
    assert tags.chosen(np.float32([-3e38, 3e38, 0, 3e38])) == ["grass"]  # a threshold of 1 is never passed


def test_thresholds_are_strict_in_float32(lists: tuple[Path, Path]) -> None:
    """sigmoid(0) is 0.5 and not above it; and float32's own 0.65 is not above 0.65, though it is as a float64."""
    tags = Tags.read(*lists)
    assert tags.chosen(np.float32([-9, 0, -9, -9])) == []
    assert tags.chosen(np.float32([-9, 1e-6, -9, -9])) == ["grass"]
    logits = np.linspace(0.6190, 0.6191, 4001, dtype=np.float32)
    wanted = (torch.from_numpy(logits).double().sigmoid().float() > torch.tensor(0.65)).numpy()
    found = [bool(tags.chosen(np.float32([logit, -9, -9, -9]))) for logit in logits]
    assert 0 < sum(found) < 4001
    assert found == wanted.tolist()


def test_other_logits_are_refused(lists: tuple[Path, Path]) -> None:
    tags = Tags.read(*lists)
    for logits in (np.zeros(3, np.float32), np.zeros((1, 4), np.float32)):
        with pytest.raises(BundleError, match="a tag for each"):
            tags.chosen(logits)
    for value in (np.nan, np.inf):
        with pytest.raises(EngineError, match="finite"):
            tags.chosen(np.float32([0, value, 0, 0]))


@pytest.mark.parametrize(
    ("which", "content"),
    [
        (0, b"cat\ngrass\nsky\n"),
        (0, b"cat\n\nsky\nnever\n"),
        (0, b"cat\n\x1b[31m\nsky\nnever\n"),
        (0, b"cat\n\xff\nsky\nnever\n"),
        (0, b"cat\n" + b"x" * 201 + b"\nsky\nnever\n"),
        (0, b"x" * ((4 << 20) + 1)),
        (0, b"a\n" * ((1 << 16) + 1)),
        (1, b"0.5\n0.5\n0.5\n"),
        (1, b"0.5\n0.5\n0.5\nnan\n"),
        (1, b"0.5\n0.5\n0.5\n1.5\n"),
        (1, b"0.5\n0.5\n0.5\n-0.0001\n"),
        (1, b"0.5\n0.5\n0.5\none\n"),
        (1, b"0.5\n0.5\n0.5\n\n"),
    ],
)
def test_lists_that_are_none(lists: tuple[Path, Path], which: int, content: bytes) -> None:
    lists[which].write_bytes(content)
    with pytest.raises(BundleError):
        Tags.read(*lists)


def test_missing_lists(lists: tuple[Path, Path]) -> None:
    lists[1].unlink()
    with pytest.raises(BundleError, match=r"tag_thresholds\.txt"):
        Tags.read(*lists)
