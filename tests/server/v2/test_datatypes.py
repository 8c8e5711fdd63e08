"""The table of datatypes agrees with the stock client's, and with the enumeration of configurations."""

from __future__ import annotations

import numpy as np
import pytest
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

from lqhq.server.protos.inference_pb2 import DataType, InferTensorContents
from lqhq.server.v2.datatypes import BY_DTYPE, DATATYPES


@pytest.mark.parametrize("name", sorted(set(DATATYPES) - {"BF16"}))
def test_the_stock_client_agrees(name: str) -> None:
    dtype = DATATYPES[name].dtype
    assert np.dtype(triton_to_np_dtype(name)) == dtype
    assert np_to_triton_dtype(dtype) == name == BY_DTYPE[dtype]


def test_every_number_of_the_enumeration_is_one_datatype() -> None:
    numbers = [DataType.Value(kind.config) for kind in DATATYPES.values()]
    assert sorted(numbers) == list(range(1, 15))


def test_every_field_of_contents_has_a_datatype() -> None:
    fields = {field.name for field in InferTensorContents.DESCRIPTOR.fields}
    assert {kind.contents for kind in DATATYPES.values()} - {None} == fields
