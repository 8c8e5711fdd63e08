"""The form of an image says what its array would."""

from __future__ import annotations

import numpy as np
import pytest

from lqhq.runtime.image_form import ImageForm


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_it_is_that_of_the_array(dtype: str) -> None:
    image = np.zeros((5, 7, 2), dtype)
    form = ImageForm.of(image)
    assert form == (5, 7, 2, image.dtype)
    assert form.nbytes == image.nbytes
    assert form != ImageForm.of(image.swapaxes(0, 1))  # planted: height and width exchanged
