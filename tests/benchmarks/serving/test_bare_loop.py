"""The bare loop answers as often as it is asked, and says so when it cannot."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from measuring.scene import scene
from serving.bare_loop import BareLoop, encoded_scene

from lqhq.runtime.image_file import read_image_bytes


@pytest.mark.slow
@pytest.mark.parametrize("form", ["pixels", "files"])
def test_it_restores_what_it_is_told(tiny_bundle: Callable[..., Path], form: str) -> None:
    with BareLoop(str(tiny_bundle()), 1, form, [12, 20]) as bare:
        sample = bare.run([0, 1, 1])
    assert len(sample.latencies) == 3
    assert sample.seconds == pytest.approx(sum(sample.latencies))
    assert min(sample.latencies) > 0


@pytest.mark.slow
def test_one_that_ends_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ChildProcessError, match="ended with code 1"), BareLoop(str(tmp_path), 1, "pixels", [12]):
        pass


def test_a_scene_is_a_file_of_its_pixels() -> None:
    data = encoded_scene(12)
    assert io.BytesIO(data).read(4) == b"\x89PNG"
    assert (read_image_bytes(data, name="scene").pixels == scene(12, 12)).all()
