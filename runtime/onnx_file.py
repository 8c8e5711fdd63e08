"""What a bundle check must know of an untrusted .onnx file, without the `onnx` package and its weights.

Names, types and shapes of inputs and outputs; opsets; the domain of every operator; and every place where
the file asks for another file, however deep in subgraphs, attributes or functions it hides. Field numbers:
onnx/onnx.proto.
"""

from __future__ import annotations

import math
import mmap
from dataclasses import dataclass, field
from pathlib import Path

from lqhq.runtime.errors import BundleError
from lqhq.runtime.protobuf import Reader, Span

__all__ = ["GraphValue", "OnnxFile", "read_onnx"]

MAX_BYTES = 2 << 30  # protobuf's own limit for one message
MAX_DEPTH = 64  # messages inside messages; an If inside a Loop inside an If takes 12
MAX_ELEMENTS = 1 << 33  # of one tensor; the largest weight of an SD UNet has 2^24
MAX_RANK = 16
DTYPES = {1: "float32", 7: "int64", 10: "float16"}  # TensorProto.DataType, where a manifest can name it

# Which field of which message holds which message, on every path that ends in a tensor or a node.
CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "function": {7: "node", 11: "attribute"},
    "tensor": {},
}
MODEL_GRAPH, MODEL_OPSET = 7, 8
OPSET_DOMAIN, OPSET_VERSION = 1, 2
GRAPH_INPUT, GRAPH_OUTPUT = 11, 12
NODE_DOMAIN = 7
TENSOR_DIMS, TENSOR_TYPE, TENSOR_EXTERNAL, TENSOR_LOCATION = 1, 2, 13, 14
FLOATS = {1: ("float32", 4), 10: ("float16", 2), 11: ("float64", 8), 16: ("bfloat16", 2)}  # name, bytes of an element
ENTRY_KEY, ENTRY_VALUE = 1, 2
IS_EXTERNAL = 1


@dataclass(frozen=True, slots=True)
class GraphValue:
    """A graph input or output. Each axis is a number, a symbol, or None where the file says nothing of it.

    `shape` itself is None where the file does not even say how many axes there are.
    """

    dtype: str
    shape: tuple[int | str | None, ...] | None


@dataclass(slots=True)
class OnnxFile:
    """The summary of one file. `external` maps each location asked for to the last byte needed of it.

    `weights` are bytes of floating-point constants by type, wherever they lie.
    """

    inputs: dict[str, GraphValue] = field(default_factory=dict)
    outputs: dict[str, GraphValue] = field(default_factory=dict)
    opsets: dict[str, int] = field(default_factory=dict)
    domains: set[str] = field(default_factory=set)
    external: dict[str, int] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)


def read_onnx(path: Path, where: str | None = None) -> OnnxFile:
    """Summarise an .onnx file; `where` names it in errors. Raises `BundleError` for anything malformed."""
    where = where or path.name
    size = path.stat().st_size
    if not 0 < size <= MAX_BYTES:
        raise BundleError(
            where,
            found=f"{size} bytes",
            expected=f"an ONNX file of 1 to {MAX_BYTES} bytes",
            mend="Export again; weights above 1 GB belong into an external data file.",
        )
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
        return _model(Reader(buffer, where), Span(0, size))


def _model(reader: Reader, whole: Span) -> OnnxFile:
    summary = OnnxFile()
    graphs = []
    for part in reader.fields(whole):
        if part.number == MODEL_GRAPH:
            graphs.append(reader.message(part))
        elif part.number == MODEL_OPSET:
            domain, version = _opset(reader, reader.message(part))
            summary.opsets[domain] = version
    # Parsers merge a repeated graph in their own ways; one that reads differently elsewhere is refused.
    if len(graphs) != 1 or not summary.opsets:
        raise reader.fault(
            f"{len(graphs)} graphs and {len(summary.opsets)} opsets", "an ONNX model: one graph, its opsets"
        )
    for part in reader.fields(graphs[0]):
        if part.number in (GRAPH_INPUT, GRAPH_OUTPUT):
            values = summary.inputs if part.number == GRAPH_INPUT else summary.outputs
            name, value = _value(reader, reader.message(part))
            if name in values:
                raise reader.fault(f"the name {name!r} twice among inputs or outputs", "each name once")
            values[name] = value
    _walk(reader, whole, summary)
    return summary


def _walk(reader: Reader, whole: Span, summary: OnnxFile) -> None:
    """Visit every message that may lead to a node or a tensor; a stack, so that depth costs no recursion."""
    stack = [("model", whole, 0)]
    while stack:
        kind, span, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise reader.fault(f"messages nested more than {MAX_DEPTH} deep", "a graph of sane depth")
        if kind == "tensor":
            _tensor(reader, span, summary)
            continue
        domain = ""
        for part in reader.fields(span):
            child = CHILDREN[kind].get(part.number)
            if child is not None:
                stack.append((child, reader.message(part), depth + 1))
            elif kind == "node" and part.number == NODE_DOMAIN:
                domain = reader.text(part)
        if kind == "node":
            summary.domains.add(domain)


def _opset(reader: Reader, span: Span) -> tuple[str, int]:
    domain, version = "", 0
    for part in reader.fields(span):
        if part.number == OPSET_DOMAIN:
            domain = reader.text(part)
        elif part.number == OPSET_VERSION:
            version = reader.number(part)
    return domain, version


def _tensor(reader: Reader, span: Span, summary: OnnxFile) -> None:
    """Note where a tensor's bytes lie, and how many. Raises where its size is absurd or its place is missing."""
    dims: list[int] = []
    kind = 0
    entries: dict[str, str] = {}
    elsewhere = False
    for part in reader.fields(span):
        if part.number == TENSOR_TYPE:
            kind = reader.number(part)
        elif part.number == TENSOR_DIMS:
            dims += reader.integers(part)
        elif part.number == TENSOR_EXTERNAL:
            key, value = _entry(reader, reader.message(part))
            if key in entries:
                raise reader.fault(f"{key!r} twice in a tensor's external data", "each key once")
            entries[key] = value
        elif part.number == TENSOR_LOCATION:
            elsewhere = reader.number(part) == IS_EXTERNAL
    _check_dims(reader, dims)
    if kind in FLOATS:
        name, size = FLOATS[kind]
        summary.weights[name] = summary.weights.get(name, 0) + math.prod(dims) * size
    if elsewhere or entries:
        if "location" not in entries:
            raise reader.fault("a tensor with external data but no location", "a file name")
        place = entries["location"]
        end = _offset(reader, entries, "offset") + _offset(reader, entries, "length")
        summary.external[place] = max(summary.external.get(place, 0), end)


def _check_dims(reader: Reader, dims: list[int]) -> None:
    if len(dims) > MAX_RANK or min(dims, default=0) < 0 or math.prod(dims) > MAX_ELEMENTS:
        raise reader.fault(
            f"a tensor of shape {dims[:MAX_RANK]}", f"at most {MAX_RANK} axes and {MAX_ELEMENTS} elements"
        )


def _entry(reader: Reader, span: Span) -> tuple[str, str]:
    key = value = ""
    for part in reader.fields(span):
        if part.number == ENTRY_KEY:
            key = reader.text(part)
        elif part.number == ENTRY_VALUE:
            value = reader.text(part)
    return key, value


def _offset(reader: Reader, entries: dict[str, str], key: str) -> int:
    text = entries.get(key, "0")
    if not (text.isascii() and text.isdecimal() and len(text) <= 19):  # 19 digits hold every int64
        raise reader.fault(f"external data {key} {text[:40]!r}", "a number of bytes")
    return int(text)


def _value(reader: Reader, span: Span) -> tuple[str, GraphValue]:
    """ValueInfoProto: name = 1, type = 2 {tensor_type = 1 {elem_type = 1, shape = 2 {dim = 1}}}."""
    name, elem_type = "", 0
    shape: tuple[int | str | None, ...] | None = None
    for part in reader.fields(span):
        if part.number == 1:
            name = reader.text(part)
    for tensor in _only(reader, _only(reader, [span], 2), 1):
        for part in reader.fields(tensor):
            if part.number == 1:
                elem_type = reader.number(part)
        for dims in _only(reader, [tensor], 2):
            shape = tuple(_dim(reader, reader.message(part)) for part in reader.fields(dims) if part.number == 1)
    if shape is not None and len(shape) > MAX_RANK:
        raise reader.fault(f"{name!r} with {len(shape)} axes", f"at most {MAX_RANK}")
    return name, GraphValue(DTYPES.get(elem_type, f"ONNX type {elem_type}"), shape)


def _only(reader: Reader, parents: list[Span], number: int) -> list[Span]:
    """The one message in field `number` of the one parent, as a list of at most one."""
    found = [reader.message(part) for parent in parents for part in reader.fields(parent) if part.number == number]
    if len(found) > 1:
        raise reader.fault(f"field {number} of an input's or output's type {len(found)} times", "once")
    return found


def _dim(reader: Reader, span: Span) -> int | str | None:
    """TensorShapeProto.Dimension: a number (field 1), a symbol (field 2), or nothing. The last one counts."""
    dim: int | str | None = None
    for part in reader.fields(span):
        if part.number == 1:
            dim = reader.number(part)
        elif part.number == 2:
            dim = reader.text(part)
    return dim
