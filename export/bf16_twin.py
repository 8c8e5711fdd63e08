"""A bfloat16 graph in a form that ONNX Runtime's CPU runs, which has no bfloat16 convolution.

Every bfloat16 value becomes float32 that was rounded to bfloat16: each operator computes in float32 and its result is
rounded, as matrix units do it. So it checks a graph's types and arithmetic, not an engine.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

__all__ = ["write_twin"]

OPSET = 21  # ONNX Runtime's CPU has no convolutions of opset 22, which differ from these in bfloat16 alone


def write_twin(file: Path, target: Path) -> None:
    """Read the bfloat16 graph `file` and write its twin to `target`, with its weights in float32 beside it.

    `file` is one that export wrote, or of an opened bundle, which was checked.
    """
    model = ir.load(file)
    graph = model.graph
    for value in graph.initializers.values():
        if value.dtype == ir.DataType.BFLOAT16 and value.const_value is not None:
            value.const_value = ir.tensor(value.const_value.numpy().astype(np.float32), name=value.name)
            value.dtype = ir.DataType.FLOAT
    for node in list(graph.all_nodes()):  # those inside loops, too
        if node.op_type == "Constant" and node.outputs[0].dtype == ir.DataType.BFLOAT16:
            wide = ir.tensor(node.attributes["value"].as_tensor().numpy().astype(np.float32))
            node.attributes["value"] = ir.AttrTensor("value", wide)
            node.outputs[0].dtype = ir.DataType.FLOAT
            continue
        for output in node.outputs:
            if output.dtype == ir.DataType.BFLOAT16:
                assert node.graph is not None
                _round(node.graph, node, output)
    graph.opset_imports[""] = OPSET
    ir.save(model, target, external_data=f"{target.name}.data")


def _round(graph: ir.Graph | ir.Function, node: ir.Node, output: ir.Value) -> None:
    """node -> Cast to bfloat16 -> Cast to float32 -> whoever took the node's output."""
    users = list(output.uses())
    casts_itself = node.op_type == "Cast"
    narrow = output
    if not casts_itself:
        output.dtype = ir.DataType.FLOAT
        down = ir.node("Cast", [output], attributes={"to": ir.DataType.BFLOAT16})
        down.outputs[0].dtype, down.outputs[0].name = ir.DataType.BFLOAT16, f"{output.name}_narrow"
        graph.insert_after(node, down)
        narrow, node = down.outputs[0], down
    up = ir.node("Cast", [narrow], attributes={"to": ir.DataType.FLOAT})
    up.outputs[0].dtype, up.outputs[0].name = ir.DataType.FLOAT, f"{output.name}_wide"  # a loop's names are ours, too
    graph.insert_after(node, up)
    for user, index in users:
        user.replace_input_with(index, up.outputs[0])
