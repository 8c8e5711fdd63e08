"""A PyTorch network becomes one ONNX file, and the file is checked before anybody relies on it."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import torch
from torch import Tensor, nn

from lqhq.export.family import Network
from lqhq.runtime.engines.onnx import OnnxSession
from lqhq.runtime.errors import EngineError

__all__ = ["EXTERNAL_ABOVE", "OPSET", "Denoise", "trace"]

OPSET = 21  # ONNX Runtime 1.20 and later, TensorRT 10; 23 brings no speed on the CPU
EXTERNAL_ABOVE = 1 << 30  # protobuf stops at 2 GiB, and large files are better memory-mapped
CLOSE = 1e-4  # relative; a wrong graph is wrong by far more, the fine comparison is `validate`
SIDES = {"N": (1, 3), "H": (3, 2), "W": (2, 5)}  # in multiples, unlike those traced with


class Denoise(nn.Module):
    """The role `denoise`: `state` and `t` in (0, 1] to `pred`, with the time scale folded in."""

    def __init__(self, module: nn.Module, time_scale: float) -> None:
        super().__init__()
        self.module, self.time_scale = module, time_scale

    def forward(self, state: Tensor, t: Tensor) -> Tensor:
        return self.module(state, t if self.time_scale == 1.0 else t * self.time_scale)  # type: ignore[no-any-return]


def trace(network: Network, time_scale: float, file: Path, *, external_above: int = EXTERNAL_ABOVE) -> tuple[str, ...]:
    """Write `file` for any N, and H, W at any multiples of `network.multiple`; returns the names of external data.

    Weights of more than `external_above` bytes go into `<file>.data` beside it. Raises `EngineError` when the
    written graph is malformed or does not give the network's values at other sizes than the traced one.
    """
    module = Denoise(network.module, time_scale).eval()
    model = _exported(module, network)
    _clean(model)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in network.module.state_dict().values())
    external = f"{file.name}.data" if weights > external_above else None
    ir.save(model, file, external_data=external)
    _check(file, module, network)
    return (external,) if external else ()


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


def _exported(module: nn.Module, network: Network) -> ir.Model:
    """Batch 2 and two different sides, so that no axis is taken for another or for a constant."""
    multiple = network.multiple
    most = (1 << 16) // multiple
    batch = torch.export.Dim("N", min=1, max=1 << 16)
    high, wide = (torch.export.Dim(name, min=1, max=most) for name in ("h", "w"))
    if multiple > 1:
        high, wide = multiple * high, multiple * wide
    state = torch.zeros(2, network.channels, 4 * multiple, 6 * multiple)
    with _quiet():
        program = torch.onnx.export(
            module,
            (state, torch.tensor([1.0, 0.5])),
            dynamo=True,
            opset_version=OPSET,
            input_names=["state", "t"],
            output_names=["pred"],
            dynamic_shapes={"state": {0: batch, 2: high, 3: wide}, "t": {0: batch}},
            verbose=False,
        )
    if program is None:
        raise _fault("nothing from the exporter", "a graph")
    return program.model


def _clean(model: ir.Model) -> None:
    """Plain axis names, and none of the exporter's notes: stack traces hold paths of this machine."""
    shapes = {"state": ("N", 3, "H", "W"), "pred": ("N", 3, "H", "W"), "t": ("N",)}
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.shape = ir.Shape(
            [side if isinstance(side, int) else ir.SymbolicDim(side) for side in shapes[value.name or ""]]
        )
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
    model.graph.name, model.graph.doc_string, model.doc_string = "denoise", None, None
    model.producer_name, model.producer_version = "lqhq", None


def _check(file: Path, module: nn.Module, network: Network) -> None:
    """The ONNX checker, and ONNX Runtime at sizes that were not traced."""
    try:
        onnx.checker.check_model(str(file), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise _fault(str(error).splitlines()[0], "a valid ONNX graph") from error
    draw = np.random.default_rng(0)
    with OnnxSession(file, threads=1) as session, torch.no_grad():
        for batch, high, wide in zip(*SIDES.values(), strict=True):
            state = draw.uniform(-1, 1, (batch, network.channels, high * network.multiple, wide * network.multiple))
            t = draw.uniform(0.1, 1, batch)
            feed = {"state": state.astype(np.float32), "t": t.astype(np.float32)}
            pred = session.run(feed)["pred"]
            wanted = module(*(torch.from_numpy(array) for array in feed.values())).numpy()
            if pred.shape != wanted.shape or not np.abs(pred - wanted).max() <= CLOSE * max(1.0, np.abs(wanted).max()):
                raise _fault(f"another output at {state.shape} than the network's", "the same at every size")


def _fault(found: str, expected: str) -> EngineError:
    return EngineError(
        "denoise graph",
        found=found,
        expected=expected,
        mend="This is a limit of the exporter; report it with the checkpoint's config and `lqhq doctor`.",
    )
