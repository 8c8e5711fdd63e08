"""The engine's own layers, from the builder's text and from the inspector's JSON (of the documented form, made up)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lqhq.runtime.engines.trt.inspector import built_from_json, built_from_report, inspect_engine, type_name
from lqhq.runtime.errors import EngineError

HALF = "Strides: [36,1,12,4], StrideOrder: [3,0,2,1], Datatype: Half, Format: (NHWC) Channel major format"
FLOAT = "Strides: [1], StrideOrder: [0], Datatype: Float, Format: (Linear) Row major linear format"
REPORT = f"""Layers:
Name: shapes_myl0_0, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 0, Metadata:
Name: conv [profile 1]_myl0_1, LayerType: correlation, Inputs: [ {{ Name: state, Dimensions: [-1,4,64,64], {HALF} }}], \
Constants: [ {{ Name: w [profile 1]_myl0, Dimensions: [32,4,3,3], {HALF} }}, {{ Name: one_myl0, Dimensions: [1], \
{FLOAT} }}], Outputs: [ {{ Name: a, Dimensions: [-1,32,64,64], {HALF} }}], TacticName: x, StreamId: 0, Metadata: [n]
Name: cast_myl0_2, LayerType: kgen, Inputs: [ {{ Name: a, Dimensions: [-1,32,64,64], {HALF} }}], Constants: [ \
{{ Name: one_myl0, Dimensions: [1], {FLOAT} }}], Outputs: [ {{ Name: pred, Dimensions: [-1,32,64,64], {FLOAT} }}, \
{{ Name: other, Dimensions: [], {HALF} }}], TacticName: y, StreamId: 0, Metadata: [m]

I/O Tensors:
 Name: state, IOMode: Input, DataType: Float, Dimensions: [-1,4,64,64], Location: Device, IsShapeInferenceIO: false
 Name: pred, IOMode: Output, DataType: Float, Dimensions: [-1,32,64,64], Location: Device, IsShapeInferenceIO: false
"""
TENSOR = {"Name": "a", "Dimensions": [1, 32, 64, 64], "Format/Datatype": "Half, NHWC8"}
WHOLE: dict[str, Any] = {
    "Layers": [
        {
            "Name": "conv",
            "LayerType": "CaskConvolution",
            "Inputs": [TENSOR],
            "Outputs": [TENSOR],
            "ParameterType": "Convolution",
            "Weights": {"Type": "Half", "Count": 9216},
            "Bias": {"Type": "Half", "Count": 32},
        },
        {
            "Name": "fused",
            "LayerType": "kgen",
            "Inputs": [TENSOR],
            "Outputs": [{"Name": "pred", "Dimensions": [1], "Datatype": "Float"}],
            "Constants": [{"Name": "scale", "Dimensions": [32, 2], "Datatype": "Float"}],
        },
        {"Name": "none", "LayerType": "NoOp", "Inputs": [], "Outputs": [], "Bias": {"Type": "Half", "Count": 0}},
    ],
    "Bindings": ["state", "pred"],
}


def test_the_report_is_counted_each_constant_once() -> None:
    built = built_from_report(REPORT)
    assert built is not None
    assert built.layers == {
        ("shape_call", "nothing"): 1,
        ("correlation", "float16"): 1,
        ("kgen", "float16+float32"): 1,
    }
    assert built.weights == {"float16": 32 * 4 * 9, "float32": 1}
    assert (built.inputs, built.outputs) == ({"state": "float32"}, {"pred": "float32"})


@pytest.mark.parametrize("text", ["", "Layers:\n", "Layers:\nconv float16\n", REPORT.split("I/O")[0]])
def test_another_form_is_not_guessed_at(text: str) -> None:
    assert built_from_report(text) is None


def test_the_inspectors_json_is_counted() -> None:
    built = built_from_json(json.dumps(WHOLE))
    assert built.layers == {("Convolution", "float16"): 1, ("kgen", "float32"): 1, ("NoOp", "nothing"): 1}
    assert built.weights == {"float16": 9216 + 32, "float32": 64}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Layers": ["conv", "cast"]}', '{"Layers": {"a": 1}}'])
def test_json_without_details_is_an_error(text: str) -> None:
    with pytest.raises(EngineError, match="details"):
        built_from_json(text)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        *(("Half", "float16"), ("FP16", "float16"), ("HALF", "float16"), ("Half, NHWC8", "float16")),
        *(("BFloat16", "bfloat16"), ("BF16", "bfloat16"), ("Float", "float32"), ("float32", "float32")),
        *(("FP4", "fp4"), ("", "unknown")),
    ],
)
def test_types_have_one_name(text: str, wanted: str) -> None:
    assert type_name(text) == wanted


class _Engine:
    """As much of an engine as the inspector and its tensors need."""

    num_io_tensors = 2

    def create_engine_inspector(self) -> _Engine:
        return self

    def get_engine_information(self, form: str) -> str:
        return json.dumps(WHOLE) if form == "json" else ""

    def get_tensor_name(self, index: int) -> str:
        return ("state", "pred")[index]

    def get_tensor_mode(self, name: str) -> str:
        return "in" if name == "state" else "out"

    def get_tensor_dtype(self, name: str) -> Any:
        return type("Type", (), {"name": "FLOAT"})


class _Module:
    class LayerInformationFormat:
        JSON = "json"

    class TensorIOMode:
        INPUT = "in"


def test_an_opened_engine_is_asked_for_layers_and_tensors() -> None:
    built = inspect_engine(_Engine(), _Module)
    assert built.source == "engine inspector"
    assert (built.inputs, built.outputs) == ({"state": "float32"}, {"pred": "float32"})


def test_an_inspector_that_says_nothing_is_an_error() -> None:
    class Silent(_Module):
        class LayerInformationFormat:
            JSON = "oneline"

    with pytest.raises(EngineError, match="found nothing"):
        inspect_engine(_Engine(), Silent)
