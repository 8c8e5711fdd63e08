"""An ONNX file as TensorRT's own strongly typed network, and what TensorRT understood of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

from lqhq.runtime.engines.trt.flavour import LoadedFlavour
from lqhq.runtime.engines.trt.inspector import type_name
from lqhq.runtime.engines.trt.truth import Parsed
from lqhq.runtime.errors import EngineError
from lqhq.runtime.precision import Float, Kind, Plan

__all__ = ["Network", "parse_network", "read_parsed"]

# An attention is three layers: its two boundaries, which carry the types, and the operation between them.
KINDS: dict[str, Kind] = {
    "CONVOLUTION": "convolution",
    "DECONVOLUTION": "deconvolution",
    "MATRIX_MULTIPLY": "matmul",
    "ATTENTION_OUTPUT": "attention",
}
WEIGHTED = {
    "CONSTANT": ("IConstantLayer", ("weights",)),
    "CONVOLUTION": ("IConvolutionLayer", ("kernel", "bias")),
    "DECONVOLUTION": ("IDeconvolutionLayer", ("kernel", "bias")),
}


@dataclass(frozen=True, slots=True)
class Network:
    """A parsed network. The parser is held because the network's weights are the parser's memory."""

    definition: Any
    parser: Any


def parse_network(flavour: LoadedFlavour, builder: Any, path: Path) -> Network:
    """Parse the ONNX file at `path`, its external data beside it. Raises `EngineError` with the parser's words."""
    module = flavour.module
    flag = module.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    definition = builder.create_network(1 << int(flag))
    # RTX and TensorRT 11 know no other networks and ignore the flag; TensorRT 10 types weakly without it.
    weak = flavour.name == "tensorrt" and flavour.major == 10
    if definition is None or (weak and not definition.get_flag(flag)):
        raise EngineError(
            f"engine {flavour.name}",
            found=f"{flavour.title} {flavour.version} without strongly typed networks",
            expected="one that keeps the types of the graph",
            mend="Update it: a weakly typed engine silently chooses its own precision.",
        )
    parser = module.OnnxParser(definition, flavour.logger)
    parsed = parser.parse_from_file(str(path))
    # A file that is no ONNX at all may parse as a graph without a single node, and count no error: seen in RTX 1.7.
    if not parsed or parser.num_errors or not definition.num_layers or not definition.num_outputs:
        raise EngineError(
            path.name,
            found=_complaint(flavour, parser) if parser.num_errors or not parsed else "no layers",
            expected=f"a graph that {flavour.title} {flavour.version} reads",
            mend="Use engine onnx, or export the checkpoint again with this release.",
        )
    _let_attention_decompose(module, definition)
    return Network(definition, parser)


def read_parsed(definition: Any, module: Any) -> Parsed:
    """Counts of the layers that multiply matrices, bytes of floating-point weights, inputs and outputs."""
    counts: Counter[tuple[Kind, Float]] = Counter()
    weights: Counter[Float] = Counter()
    for layer in _layers(definition):
        kind = KINDS.get(layer.type.name)
        if kind:  # others may have no output at all: the trip limit of a loop
            dtype = type_name(layer.get_output(0).dtype.name)
            if dtype in get_args(Float):
                counts[kind, cast(Float, dtype)] += 1
        for held in _weights(layer, module):
            # NumPy's arrays where NumPy has the type, the flavour's own value where it has none (bfloat16).
            name = type_name(held.dtype.name)
            if name in get_args(Float):
                weights[cast(Float, name)] += int(held.nbytes)
    layers: dict[Kind, dict[Float, int]] = {}
    for (kind, dtype), count in sorted(counts.items()):
        layers.setdefault(kind, {})[dtype] = count
    return Parsed(
        plan=Plan(weights=dict(sorted(weights.items())), layers=layers),
        inputs=_signature(definition.get_input(index) for index in range(definition.num_inputs)),
        outputs=_signature(definition.get_output(index) for index in range(definition.num_outputs)),
    )


def _let_attention_decompose(module: Any, definition: Any) -> None:
    """By default an attention must have a kernel of its own, or the build fails: head 512 of the VAE has none."""
    for layer in _layers(definition):
        if layer.type.name == "ATTENTION_INPUT":
            layer.__class__ = module.IAttentionInputLayer  # the bindings' own way to reach a layer's kind
            layer.attention.decomposable = True


def _layers(definition: Any) -> Iterator[Any]:
    return (definition.get_layer(index) for index in range(definition.num_layers))


def _weights(layer: Any, module: Any) -> list[Any]:
    name, fields = WEIGHTED.get(layer.type.name, ("", ()))
    if not fields:
        return []
    layer.__class__ = getattr(module, name)
    return [held for key in fields if (held := getattr(layer, key)) is not None]


def _signature(tensors: Iterator[Any]) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {tensor.name: (type_name(tensor.dtype.name), tuple(tensor.shape)) for tensor in tensors}


def _complaint(flavour: LoadedFlavour, parser: Any) -> str:
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    words = [re.sub(r"\s+", " ", f"{error.desc()} (node {error.node_name() or error.node()})") for error in errors]
    return "; ".join(words[:3])[:600] or flavour.words.said()
