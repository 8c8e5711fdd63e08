"""The layers that an engine is made of, from the builder's list or from TensorRT's engine inspector.

The builder lists them as text at detailed verbosity, without a GPU. The inspector gives the same as JSON, but only of
an engine that was deserialised, which needs a GPU: reading its JSON is tested on a text of the documented form, and
asking for it is unverified.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from lqhq.runtime.engines.trt.truth import Built
from lqhq.runtime.errors import EngineError

__all__ = ["built_from_json", "built_from_report", "inspect_engine", "type_name"]

# As the reports spell them; the inspector's formats begin with the type too, for instance "Half, NHWC8".
TYPES = {
    "float": "float32",
    "fp32": "float32",
    "half": "float16",
    "fp16": "float16",
    "bfloat16": "bfloat16",
    "bf16": "bfloat16",
    "int64": "int64",
    "int32": "int32",
    "int8": "int8",
    "uint8": "uint8",
    "bool": "bool",
    "fp8": "float8",
}
LAYER = re.compile(r"Name: (?P<name>.*?), LayerType: (?P<kind>\w+), (?P<rest>Inputs: .*)")
PART = re.compile(r"(Inputs|Constants|Outputs|TacticName): ")
TENSOR = re.compile(r"Name: (.*?), Dimensions: \[([-0-9,]*)\].*?Datatype: (\w+)")
IO = re.compile(r"\s*Name: (.*?), IOMode: (Input|Output), DataType: (\w+)")


def type_name(text: str) -> str:
    """A type as lqhq writes it; in lower case as it is where TensorRT has a new one."""
    word = re.split(r"[^A-Za-z0-9]", text.strip(), maxsplit=1)[0].lower()
    return TYPES.get(word, word or "unknown")


def built_from_report(text: str) -> Built | None:
    """What the builder's list of layers says; None where it is not of the form that is known."""
    layers: Counter[tuple[str, str]] = Counter()
    weights: dict[str, tuple[str, int]] = {}
    sides: dict[str, dict[str, str]] = {"Input": {}, "Output": {}}
    for line in text.splitlines():
        if match := IO.match(line):
            sides[match[2]][match[1]] = type_name(match[3])
        elif match := LAYER.match(line):
            pieces = PART.split(match["rest"])
            parts = dict(zip(pieces[1::2], pieces[2::2], strict=True))
            outputs = [type_name(found[2]) for found in TENSOR.findall(parts.get("Outputs", ""))]
            layers[match["kind"], _together(outputs)] += 1
            for name, dims, dtype in TENSOR.findall(parts.get("Constants", "")):
                lengths = [int(length) for length in dims.split(",") if length]
                weights[name] = (type_name(dtype), math.prod(lengths))
    if not layers or not sides["Output"]:
        return None
    return _built(layers, weights, sides["Input"], sides["Output"], "builder's list")


def built_from_json(text: str) -> Built:
    """What the inspector's JSON of an engine built at detailed verbosity says. Raises `EngineError`."""
    try:
        whole = json.loads(text)
    except ValueError as error:
        raise _unreadable(f"no JSON ({error})") from error
    found = whole.get("Layers") if isinstance(whole, dict) else None
    if not isinstance(found, list) or not all(isinstance(layer, dict) for layer in found):
        raise _unreadable("no list of layers with their details")
    layers: Counter[tuple[str, str]] = Counter()
    weights: dict[str, tuple[str, int]] = {}
    for index, layer in enumerate(found):
        outputs = [_datatype(tensor) for tensor in layer.get("Outputs", [])]
        layers[str(layer.get("ParameterType") or layer.get("LayerType", "unknown")), _together(outputs)] += 1
        for tensor in layer.get("Constants", []):
            weights[str(tensor.get("Name"))] = (_datatype(tensor), math.prod(tensor.get("Dimensions", [])))
        for key in ("Weights", "Bias"):
            held = layer.get(key)
            if isinstance(held, dict) and held.get("Count"):
                weights[f"{index}.{key}"] = (type_name(str(held.get("Type"))), int(held["Count"]))
    return _built(layers, weights, {}, {}, "engine inspector")


def inspect_engine(engine: Any, module: Any) -> Built:
    """What the inspector says of a deserialised engine. Needs a GPU; unverified."""
    text = engine.create_engine_inspector().get_engine_information(module.LayerInformationFormat.JSON)
    if not text:
        raise _unreadable("nothing")
    sides: dict[bool, dict[str, str]] = {True: {}, False: {}}
    for name in map(engine.get_tensor_name, range(engine.num_io_tensors)):
        into = engine.get_tensor_mode(name) == module.TensorIOMode.INPUT
        sides[into][name] = type_name(engine.get_tensor_dtype(name).name)
    return replace(built_from_json(text), inputs=sides[True], outputs=sides[False])


def _built(
    layers: Counter[tuple[str, str]],
    weights: dict[str, tuple[str, int]],
    inputs: dict[str, str],
    outputs: dict[str, str],
    source: str,
) -> Built:
    elements: Counter[str] = Counter()
    for dtype, count in weights.values():
        elements[dtype] += count
    return Built(layers=dict(layers), weights=dict(elements), inputs=inputs, outputs=outputs, source=source)


def _datatype(tensor: dict[str, Any]) -> str:
    return type_name(str(tensor.get("Datatype") or tensor.get("Format/Datatype") or ""))


def _together(types: Iterable[str]) -> str:
    return "+".join(sorted(set(types))) or "nothing"


def _unreadable(found: str) -> EngineError:
    return EngineError(
        "engine inspector",
        found=found,
        expected="JSON with the details of each layer",
        mend="The engine was built without detailed verbosity, or by another release: build it again.",
    )
