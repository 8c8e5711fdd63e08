"""Small ONNX graphs written node by node: tracing sixty of them would take minutes, and these are only a few lines."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

__all__ = ["Axes", "SegmentGraph"]

Axes = Sequence[int | str]
OPSET, IR_VERSION = 21, 10  # as `trace` has it for float32, and the format that came with it


class SegmentGraph:
    """A graph in the making. Values are known by the names that the methods return; all are float32.

    Operators are those of the standard's opset 21, so that every engine reads the file.
    """

    def __init__(self, prefix: str = "") -> None:
        self._prefix = prefix
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[str, onnx.TensorProto] = {}

    def constant(self, value: NDArray[Any]) -> str:
        """A constant of the graph: a weight, an axis, a number."""
        name = f"{self._prefix}w{len(self._constants)}"
        self._constants[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def number(self, value: float) -> str:
        """A float32 constant without axes."""
        return self.constant(np.array(value, np.float32))

    def axis(self, *axes: int) -> str:
        """An int64 constant of one axis: axes, or a shape."""
        return self.constant(np.array(axes, np.int64))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """One node with one output; an attribute's list may be a tuple."""
        return self.ops(kind, *inputs, outputs=1, **attributes)[0]

    def ops(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> tuple[str, ...]:
        """One node with several outputs."""
        names = tuple(f"{self._prefix}v{len(self._nodes)}_{index}" for index in range(outputs))
        self._nodes.append(helper.make_node(kind, list(inputs), list(names), **attributes))
        return names

    def loop(
        self,
        count: str,
        carried: Sequence[str],
        body: Callable[[SegmentGraph, str, tuple[str, ...]], tuple[str, ...]],
    ) -> tuple[str, ...]:
        """`count` (int64) rounds of `body(graph, index, values) -> next values`, from `carried` on; values as they end.

        The body also sees what this graph has.
        """
        inner = SegmentGraph("loop_")
        names = tuple(f"loop_in{index}" for index in range(len(carried)))
        after = body(inner, "loop_index", names)
        going = inner.op("Identity", "loop_going")
        condition = helper.make_tensor_value_info("loop_going", TensorProto.BOOL, [])
        index = helper.make_tensor_value_info("loop_index", TensorProto.INT64, [])
        graph = helper.make_graph(
            inner._nodes,
            "loop",
            [index, condition, *(_value(name, None) for name in names)],
            [helper.make_tensor_value_info(going, TensorProto.BOOL, []), *(_value(name, None) for name in after)],
            list(inner._constants.values()),
        )
        return self.ops("Loop", count, self.constant(np.array(True)), *carried, outputs=len(carried), body=graph)

    def write(self, file: Path, inputs: Mapping[str, Axes], y: str, shape: Axes) -> None:
        """Write the graph whose output `y` is the value of that name here, checked, under a new name and then renamed.

        An axis without a number is dynamic. Raises `onnx.checker.ValidationError` where nodes do not fit together.
        """
        nodes = [*self._nodes, helper.make_node("Identity", [y], ["y"])]
        graph = helper.make_graph(
            nodes,
            file.stem,
            [_value(name, axes) for name, axes in inputs.items()],
            [_value("y", shape)],
            list(self._constants.values()),
        )
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION, producer_name="lqhq")
        onnx.checker.check_model(model, full_check=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        half_written = file.with_name(f".{file.name}.part")
        try:
            onnx.save_model(model, half_written)
            os.replace(half_written, file)
        finally:
            half_written.unlink(missing_ok=True)


def _value(name: str, axes: Axes | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None if axes is None else list(axes))
