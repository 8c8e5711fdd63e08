"""Precisions of graphs, and what a graph of each is made of: the plan that an engine is compared with."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

__all__ = ["EMULATED", "FLOATS", "HEADROOM_DB", "LEAST_PSNR", "PRECISIONS", "Float", "Kind", "Plan", "Precision"]

Precision = Literal["fp32", "fp16", "bf16"]
Float = Literal["float32", "float16", "bfloat16"]
Kind = Literal["convolution", "deconvolution", "matmul", "attention"]

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16")
FLOATS: dict[Precision, Float] = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}

# Of a finished image against float32, in dB: 50 is an error of 0.8 levels of 8 bits, root mean square. bfloat16 has
# three bits less, 18 dB.
LEAST_PSNR: dict[Precision, float] = {"fp16": 50.0, "bf16": 32.0}
HEADROOM_DB = 6.0  # an engine that adds in another order may err by twice of what export saw
EMULATED = "emulated: this CPU computes in float32 and rounds"

Count = Annotated[int, Meta(ge=0, le=1 << 50)]


class Plan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the ONNX file of one role and precision holds, counted when it was written.

    `islands` are the PyTorch modules that stay in float32 in a half-precision graph, "" for all of it. `weights` are
    bytes of floating-point constants by type, `layers` operators that multiply matrices, by kind and by the type of
    their result (Gemm and MatMul are both `matmul`). `psnr` is how near the graph's outputs came to float32, in dB,
    the worst case at export; None for fp32, which is compared with PyTorch otherwise. `largest` is the largest
    absolute value of any half-precision tensor on photos.
    """

    islands: tuple[str, ...] = ()
    weights: dict[Float, Count]
    layers: dict[Kind, dict[Float, Count]]
    psnr: float | None = None
    largest: float | None = None
