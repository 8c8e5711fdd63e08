"""A result as a file, as an array, and its outcome as plain fields."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lqhq.runtime.errors import ImageError
from lqhq.server.client.pictures import file_bytes
from lqhq.server.client.result import Result, outcome_fields
from lqhq.server.protos import lqhq_v1_pb2 as pb


def test_to_array_and_save(tmp_path: Path) -> None:
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    result = Result(file_bytes(image, "image"), pb.Outcome())
    assert np.array_equal(result.to_array(), image)
    result.save(tmp_path / "any.name")
    assert (tmp_path / "any.name").read_bytes() == result.image
    with pytest.raises(ImageError):
        result.save(tmp_path / "none" / "out.png")


def test_fields_are_plain_and_whole() -> None:
    outcome = pb.Outcome(
        model="m", shape=pb.ImageShape(height=2, width=3, channels=4, bit_depth=16), format=pb.IMAGE_FORMAT_TIFF,
        blend=pb.BLEND_EACH, seed=2**64 - 1, run_s=1.5,
    )  # fmt: skip
    fields = outcome_fields(outcome)
    assert list(fields) == [field.name for field in pb.Outcome.DESCRIPTOR.fields]
    assert (fields["shape"], fields["format"], fields["blend"]) == ([2, 3, 4, 16], "tiff", "each")
    assert (fields["prior"], fields["seed"]) == ("", 2**64 - 1)
    assert json.loads(json.dumps(fields)) == fields
