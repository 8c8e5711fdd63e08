"""The V2 datatypes: their NumPy types, the field their typed contents travel in, their names in a model's config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np

__all__ = ["BY_DTYPE", "DATATYPES", "Contents", "Datatype"]

Contents = Literal[
    "bool_contents",
    "int_contents",
    "int64_contents",
    "uint_contents",
    "uint64_contents",
    "fp32_contents",
    "fp64_contents",
    "bytes_contents",
]


class Datatype(NamedTuple):
    """`dtype` is what raw bytes are read as, little-endian; `contents` is None for what travels raw only."""

    dtype: np.dtype[Any]
    contents: Contents | None
    config: str


def _numeric(name: str, dtype: str, contents: Contents | None) -> Datatype:
    return Datatype(np.dtype(dtype), contents, f"TYPE_{name}")


DATATYPES: Mapping[str, Datatype] = {
    "BOOL": _numeric("BOOL", "|b1", "bool_contents"),
    "UINT8": _numeric("UINT8", "|u1", "uint_contents"),
    "UINT16": _numeric("UINT16", "<u2", "uint_contents"),
    "UINT32": _numeric("UINT32", "<u4", "uint_contents"),
    "UINT64": _numeric("UINT64", "<u8", "uint64_contents"),
    "INT8": _numeric("INT8", "|i1", "int_contents"),
    "INT16": _numeric("INT16", "<i2", "int_contents"),
    "INT32": _numeric("INT32", "<i4", "int_contents"),
    "INT64": _numeric("INT64", "<i8", "int64_contents"),
    "FP16": _numeric("FP16", "<f2", None),
    "FP32": _numeric("FP32", "<f4", "fp32_contents"),
    "FP64": _numeric("FP64", "<f8", "fp64_contents"),
    "BF16": _numeric("BF16", "<u2", None),  # NumPy has none: the upper halves of float32
    "BYTES": Datatype(np.dtype(object), "bytes_contents", "TYPE_STRING"),
}
BY_DTYPE: Mapping[np.dtype[Any], str] = {kind.dtype: name for name, kind in DATATYPES.items() if name != "BF16"}
