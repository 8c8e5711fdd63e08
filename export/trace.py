"""A PyTorch network becomes one ONNX file, and the file is checked before anybody relies on it."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnx_ir as ir
import torch

from lqhq.export.census import census
from lqhq.export.chunked_attention import TRANSLATIONS
from lqhq.export.emulated import emulated_session
from lqhq.export.family import Arrays, RoleGraph
from lqhq.export.group_norm import write_out_group_norms
from lqhq.export.half import HalfModule
from lqhq.export.half_arithmetic import HalfArithmetic
from lqhq.export.heavy import give_back
from lqhq.export.reference import reference_outputs
from lqhq.export.torch_session import TorchSession
from lqhq.runtime.axes import parse_axis
from lqhq.runtime.errors import EngineError
from lqhq.runtime.precision import Plan, Precision

__all__ = ["EXTERNAL_ABOVE", "OPSETS", "Traced", "trace"]

# ONNX Runtime 1.20 and later, TensorRT 10; 23 brings no speed on the CPU. Convolutions in bfloat16 need 22.
OPSETS: dict[Precision, int] = {"fp32": 21, "fp16": 21, "bf16": 22}
EXTERNAL_ABOVE = 1 << 30  # protobuf stops at 2 GiB, and large files are better memory-mapped
CLOSE = 1e-4  # relative; a wrong graph is wrong by far more, the fine comparison is `validate`
HALF_CLOSE = 4.0  # times what PyTorch's own half precision differs by from float32: two roundings may differ by twice
TRACED_BATCH = 2  # one would be taken for a constant; H and W differ for the same reason
CHECKED = ((1, 3, 2), (3, 2, 5))


class Traced(NamedTuple):
    """Names of the files that hold a graph's weights, if any, and what the graph is made of."""

    external: tuple[str, ...]
    plan: Plan


def trace(
    graph: RoleGraph,
    file: Path,
    *,
    precision: Precision = "fp32",
    external_above: int = EXTERNAL_ABOVE,
    last: bool = False,
) -> Traced:
    """Write `file` for any N, and H, W at any multiples of `graph.multiple`; its module is halved for a half precision.

    `last` says that a halved module is not needed behind this: its memory is free before an engine opens the file.
    Weights of more than `external_above` bytes go into `<file>.data` beside it. Raises `EngineError` when the
    written graph is malformed or does not give the plain network's values at other sizes than the traced one.
    """
    model = _exported(graph, OPSETS[precision])
    if precision == "fp32":
        write_out_group_norms(model)  # a half graph keeps the operator: engines of half precision fuse it
    _clean(model, graph)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in graph.module.state_dict().values())
    external = f"{file.name}.data" if weights > external_above else None
    islands = graph.module.islands if isinstance(graph.module, HalfModule) else ()
    plan = census(model, islands)  # before saving, which takes large weights out of the model
    ir.save(model, file, external_data=external)
    del model
    _check(file, graph, precision, last=last)
    return Traced((external,) if external else (), plan)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints progress, warns about its own parts and logs absent packages: nothing for the user."""
    level = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(level)


def _exported(graph: RoleGraph, opset: int) -> ir.Model:
    high, wide = graph.traced
    feed = graph.examples(np.random.default_rng(0), TRACED_BATCH, high * graph.multiple, wide * graph.multiple)
    free = _free_axes(graph.multiple)
    shapes = tuple(
        {axis: _free(side, free) for axis, side in enumerate(tensor.shape) if isinstance(side, str)}
        for tensor in graph.inputs.values()
    )
    with _quiet():
        program = torch.onnx.export(
            graph.module,
            tuple(torch.from_numpy(feed[name]) for name in graph.inputs),
            dynamo=True,
            opset_version=opset,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=(shapes,) if isinstance(graph.module, HalfModule) else shapes,  # it takes *inputs
            custom_translation_table=TRANSLATIONS,
            verbose=False,
        )
    if program is None:
        raise _fault(graph, "nothing from the exporter", "a graph")
    return program.model


def _free_axes(multiple: int) -> dict[str, Any]:
    most = (1 << 16) // multiple
    batch = torch.export.Dim("N", min=1, max=1 << 16)
    high, wide = (torch.export.Dim(name, min=1, max=most) for name in ("h", "w"))
    return {"N": batch, "H": multiple * high if multiple > 1 else high, "W": multiple * wide if multiple > 1 else wide}


def _free(axis: str, free: Mapping[str, Any]) -> Any:
    parsed = parse_axis(axis)
    assert parsed is not None  # the manifest's schema has no other axes
    times, letter = parsed
    return times * free[letter] if times > 1 else free[letter]


def _clean(model: ir.Model, graph: RoleGraph) -> None:
    """Plain axis names, and none of the exporter's notes: stack traces hold paths of this machine."""
    tensors = {**graph.inputs, **graph.outputs}
    for value in (*model.graph.inputs, *model.graph.outputs):
        shape = tensors[value.name or ""].shape
        value.shape = ir.Shape([side if isinstance(side, int) else ir.SymbolicDim(side) for side in shape])
        value.metadata_props.clear()
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
            if value not in model.graph.outputs:
                value.shape = None  # inner names of axes, which engines derive again by themselves
    for value in model.graph.initializers.values():
        value.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.metadata_props.clear()
    model.graph.name, model.graph.doc_string, model.doc_string = graph.role, None, None
    model.producer_name, model.producer_version = "lqhq", None


def _check(file: Path, graph: RoleGraph, precision: Precision, *, last: bool) -> None:
    """The ONNX checker, and ONNX Runtime at sizes that were not traced."""
    try:
        onnx.checker.check_model(str(file), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise _fault(graph, str(error).splitlines()[0], "a valid ONNX graph") from error
    draw = np.random.default_rng(0)
    feeds = [graph.examples(draw, n, high * graph.multiple, wide * graph.multiple) for n, high, wide in CHECKED]
    wanted = [reference_outputs(graph, feed) for feed in feeds]
    allowed = [_allowed(graph, feed, one) for feed, one in zip(feeds, wanted, strict=True)]
    if last and isinstance(graph.module, HalfModule):
        graph.module.release()
    give_back()
    with emulated_session(file, precision, threads=1) as session:
        for feed, outputs, bounds in zip(feeds, wanted, allowed, strict=True):
            if not np.isfinite(list(bounds.values())).all():
                continue  # half precision overflows in this network: the comparison with PyTorch says where
            found = session.run(feed)
            for name, array in outputs.items():
                near = found[name].shape == array.shape
                if not near or not np.abs(found[name] - array).max() <= bounds[name]:
                    sizes = ", ".join(f"{key} {list(value.shape)}" for key, value in feed.items())
                    raise _fault(graph, f"another {name} than the network's at {sizes}", "the same at every size")


def _allowed(graph: RoleGraph, feed: Arrays, wanted: Arrays) -> dict[str, float]:
    """By output: what rounding may come to."""
    allowed = {name: CLOSE * max(1.0, float(np.abs(array).max())) for name, array in wanted.items()}
    if isinstance(graph.module, HalfModule):
        with TorchSession(graph, graph.module, HalfArithmetic()) as session:
            half = session.run(feed)
        for name, array in wanted.items():
            allowed[name] += HALF_CLOSE * float(np.abs(half[name] - array).max())
    return allowed


def _fault(graph: RoleGraph, found: str, expected: str) -> EngineError:
    return EngineError(
        f"{graph.role} graph",
        found=found,
        expected=expected,
        mend="This is a limit of the exporter; report it with the checkpoint's config and `lqhq doctor`.",
    )
