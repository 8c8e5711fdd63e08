"""Counts what a traced graph is made of, by type: the plan that engines built from it are compared with."""

from __future__ import annotations

from collections import Counter, defaultdict

import onnx_ir as ir

from lqhq.runtime.errors import EngineError
from lqhq.runtime.precision import Float, Kind, Plan

__all__ = ["census"]

KINDS: dict[str, Kind] = {
    "Conv": "convolution",
    "ConvTranspose": "deconvolution",
    "MatMul": "matmul",
    "Gemm": "matmul",
    "Attention": "attention",
}
FLOATS: dict[ir.DataType, Float] = {
    ir.DataType.FLOAT: "float32",
    ir.DataType.FLOAT16: "float16",
    ir.DataType.BFLOAT16: "bfloat16",
}


def census(model: ir.Model, islands: tuple[str, ...]) -> Plan:
    """Bytes of floating constants and numbers of matrix operators, by type. Raises `EngineError` for other floats."""
    layers: defaultdict[Kind, Counter[Float]] = defaultdict(Counter)
    weights: Counter[Float] = Counter()
    tensors = [value.const_value for value in model.graph.initializers.values()]
    for node in model.graph.all_nodes():
        if node.op_type in KINDS:
            (output,) = node.outputs
            layers[KINDS[node.op_type]][_float(node.op_type, output.dtype)] += 1
        elif node.op_type == "Constant" and "value" in node.attributes:
            tensors.append(node.attributes["value"].as_tensor())
    for tensor in tensors:
        if tensor is not None and tensor.dtype.is_floating_point():
            weights[_float("a constant", tensor.dtype)] += tensor.nbytes
    return Plan(
        islands=islands,
        weights=dict(sorted(weights.items())),
        layers={kind: dict(sorted(layers[kind].items())) for kind in sorted(layers)},
    )


def _float(what: str, dtype: ir.DataType | None) -> Float:
    if dtype in FLOATS:
        return FLOATS[dtype]
    raise EngineError(
        "traced graph",
        found=f"{what} of type {dtype}",
        expected="float32, float16 or bfloat16",
        mend="This is a limit of the exporter; report it with the checkpoint's config and `lqhq doctor`.",
    )
