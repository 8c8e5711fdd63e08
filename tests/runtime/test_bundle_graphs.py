"""A graph's file against its entry in the manifest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
from onnx import TensorProto, helper

from lqhq.runtime.bundle import file_records, open_bundle, read_manifest
from lqhq.runtime.errors import BundleError
from lqhq.runtime.manifest import Manifest, Tensor, manifest_from_json, manifest_to_json
from lqhq.runtime.onnx_file import read_onnx
from lqhq.runtime.precision import Plan

Build = Callable[..., Path]
GRAPH = "graphs/denoise.fp32.onnx"


def rewrite(folder: Path, change: Callable[[onnx.ModelProto], object], graph: str = GRAPH) -> Path:
    """Change the graph's file and record its new digest: a consistent bundle with another graph."""
    path = folder / graph
    model = onnx.load(path, load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())
    return record(folder)


def record(folder: Path, **fields: Any) -> Path:
    manifest = manifest_from_json((folder / "manifest.json").read_bytes())
    changed = msgspec.structs.replace(manifest, files=file_records(folder), **fields)
    (folder / "manifest.json").write_bytes(manifest_to_json(changed))
    return folder


def declare(folder: Path, change: Callable[[Any], dict[str, Any]]) -> Path:
    """Change the manifest's entry of the graph by field."""
    manifest: Manifest = manifest_from_json((folder / "manifest.json").read_bytes())
    graph = manifest.graphs["denoise"]["fp32"]
    return record(folder, graphs={"denoise": {"fp32": msgspec.structs.replace(graph, **change(graph))}})


def external(model: onnx.ModelProto) -> dict[str, onnx.StringStringEntryProto]:
    weight = next(tensor for tensor in model.graph.initializer if tensor.external_data)
    return {entry.key: entry for entry in weight.external_data}


def axis(model: onnx.ModelProto, values: str, index: int) -> onnx.TensorShapeProto.Dimension:
    return getattr(model.graph, values)[0].type.tensor_type.shape.dim[index]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda model: model.graph.input.pop(), r"denoise\.fp32\.inputs: found \['state'\] in the file"),
        (lambda model: model.graph.output.add(name="var"), r"fp32\.outputs: found \['pred', 'var'\]"),
        (lambda model: setattr(axis(model, "input", 1), "dim_value", 4), r"inputs\.state: .*\[N, 4, H, W\]"),
        (lambda model: setattr(axis(model, "input", 2), "dim_value", 64), r"\[N, 3, 64, W\]"),
        (
            lambda model: setattr(axis(model, "output", 1), "dim_param", "C"),
            r"outputs\.pred: .*\[N, C, H, W\]",
        ),
        (lambda model: model.graph.input[1].type.tensor_type.shape.dim.add(), r"inputs\.t: .*\[N, None\]"),
        (lambda model: model.graph.input[1].type.tensor_type.ClearField("shape"), "of unknown rank"),
        (
            lambda model: setattr(model.graph.input[0].type.tensor_type, "elem_type", TensorProto.FLOAT16),
            r"found float16 \[N, 3, H, W\]",
        ),
        (lambda model: setattr(model.graph.node[0], "domain", "com.microsoft"), "operators of com.microsoft"),
        (lambda model: model.ClearField("graph"), "0 graphs"),
    ],
)
def test_a_graph_other_than_declared_is_refused(
    tiny_bundle: Build, change: Callable[[onnx.ModelProto], object], said: str
) -> None:
    with pytest.raises(BundleError, match=said):
        open_bundle(rewrite(tiny_bundle(), change), verified=None)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("location", "../evil.data", "external data at '../evil.data'"),
        ("location", "/etc/passwd", "external data at '/etc/passwd'"),
        ("location", "other.data", r"found \['graphs/other.data'\] asked for"),
        # ONNX Runtime takes this location for an address in memory.
        ("location", "*/_ORT_MEM_ADDR_/*", "_ORT_MEM_ADDR_"),
        ("offset", "109", "bytes up to"),
        ("length", "999999", "bytes up to"),
    ],
)
def test_external_data_elsewhere_is_refused(tiny_bundle: Build, key: str, value: str, said: str) -> None:
    folder = tiny_bundle(external=True)

    def change(model: onnx.ModelProto) -> None:
        if key in external(model):
            external(model)[key].value = value
        else:
            model.graph.initializer[0].external_data.add(key=key, value=value)

    with pytest.raises(BundleError, match=said):
        open_bundle(rewrite(folder, change), verified=None)


def test_external_data_must_be_listed_and_used(tiny_bundle: Build) -> None:
    unlisted = declare(tiny_bundle("a", external=True), lambda _: {"external_data": ()})
    unused = declare(tiny_bundle("b"), lambda graph: {"external_data": (graph.file,)})
    for folder in (unlisted, unused):
        with pytest.raises(BundleError, match=r"fp32\.external_data: found .* asked for by the graph"):
            open_bundle(folder, verified=None)


def test_huge_declared_shapes_are_refused_before_the_file_is_read(latent_bundle: Build) -> None:
    """A condition is as wide as its graphs say, so the contract of the role lets it pass."""
    folder = latent_bundle(worded=True)
    graphs = dict(read_manifest(folder).graphs)
    huge = Tensor(dtype="float32", shape=("N", 65536, 65536), per="image")
    denoise, text = graphs["denoise"]["fp32"], graphs["text"]["fp32"]
    graphs["denoise"] = {"fp32": msgspec.structs.replace(denoise, inputs={**denoise.inputs, "cond": huge})}
    graphs["text"] = {"fp32": msgspec.structs.replace(text, outputs={"cond": huge})}
    with pytest.raises(BundleError, match=r"denoise\.fp32\.inputs\.cond: found shape .*4294967296 elements"):
        open_bundle(record(folder, graphs=graphs), verified=None)


def test_a_tensor_of_absurd_size_inside_the_graph_is_refused(tiny_bundle: Build) -> None:
    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(TensorProto(name="w", data_type=1, dims=[1 << 40]))

    with pytest.raises(BundleError, match="a tensor of shape"):
        open_bundle(rewrite(tiny_bundle(), change), verified=None)


def test_a_graph_that_is_not_onnx_is_refused(tiny_bundle: Build) -> None:
    folder = tiny_bundle()
    (folder / GRAPH).write_bytes(b"not a graph at all")
    with pytest.raises(BundleError, match=f"{GRAPH}: found"):
        open_bundle(record(folder), verified=None)


def test_standard_operators_under_their_long_name_pass(tiny_bundle: Build) -> None:
    folder = rewrite(tiny_bundle(), lambda model: setattr(model.graph.node[0], "domain", "ai.onnx"))
    found = open_bundle(folder, verified=None)
    assert found.manifest.files[GRAPH].sha256 == hashlib.sha256((folder / GRAPH).read_bytes()).hexdigest()


def test_a_planted_fault_in_the_graph_is_seen_only_here(tiny_bundle: Build) -> None:
    """A subgraph with a file of its own has the right digest and names: only the walk finds it."""
    inner = helper.make_graph([], "g", [], [])
    inner.initializer.append(TensorProto(name="w", data_type=1, dims=[1], data_location=1))
    inner.initializer[0].external_data.add(key="location", value="../../home.key")

    def change(model: onnx.ModelProto) -> None:
        model.graph.node[0].attribute.append(helper.make_attribute("body", inner))

    with pytest.raises(BundleError, match=r"\.\./\.\./home\.key"):
        open_bundle(rewrite(tiny_bundle(), change), verified=None)


@pytest.mark.parametrize(
    "change",
    [
        lambda graph: {"inputs": {"state": graph.inputs["state"]}},
        lambda graph: {"outputs": {"image": graph.outputs["pred"]}},
        lambda graph: {"inputs": {**graph.inputs, "state": Tensor(dtype="float32", shape=("N", 4, "H", "W"))}},
        lambda graph: {"inputs": {**graph.inputs, "state": Tensor(dtype="float32", shape=("N", 3, 64, 64))}},
        lambda graph: {"outputs": {**graph.outputs, "var": Tensor(dtype="float32", shape=("N",))}},
    ],
)
def test_a_graph_that_is_no_denoise_role_is_refused_on_opening(tiny_bundle: Build, change: Any) -> None:
    with pytest.raises(BundleError, match=r"graphs\.denoise\.fp32: found inputs"):
        open_bundle(declare(tiny_bundle(), change), verified=None)


def test_a_graph_of_other_types_than_its_plan_is_refused(tiny_bundle: Build) -> None:
    """A float32 graph under the name of a half one, its digest made right."""
    folder = tiny_bundle()
    weights = read_onnx(folder / GRAPH).weights
    assert weights.keys() == {"float32"}
    declare(folder, lambda graph: {"plan": Plan(weights=weights, layers={})})
    open_bundle(folder, verified=None)
    declare(folder, lambda graph: {"plan": Plan(weights={"float16": weights["float32"] // 2}, layers={})})
    with pytest.raises(BundleError, match=r"denoise\.fp32\.plan\.weights: found {'float32': \d+} bytes in the file"):
        open_bundle(folder, verified=None)


# Segments

PART = "segments/decode.01.onnx"


def test_whole_segments_open(latent_bundle: Build) -> None:
    for factor in (2, 8):
        open_bundle(latent_bundle(f"by{factor}", factor=factor), verified=None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda model: model.graph.input.pop(),
            r"segments\.decode\[1\]\.inputs: found \['mean', 'rstd', 'x'\] in the file",
        ),
        (lambda model: model.graph.output.add(name="z"), r"segments\.decode\[1\]\.outputs: found \['y', 'z'\]"),
        (lambda model: setattr(axis(model, "input", 1), "dim_value", 8), r"inputs\.x: found float32 \[N, 8, H, W\]"),
        (lambda model: setattr(axis(model, "input", 2), "dim_value", 64), r"\[N, 4, 64, W\]"),
        (lambda model: setattr(axis(model, "output", 1), "dim_value", 3), r"outputs\.y: found float32 \[N, 3, H, W\]"),
        (
            lambda model: setattr(model.graph.input[1].type.tensor_type, "elem_type", TensorProto.FLOAT16),
            r"inputs\.mean: found float16",
        ),
        (
            lambda model: setattr(model.graph.node[0], "domain", "com.microsoft"),
            r"decode\[1\]: found operators of com\.micro",
        ),
        (lambda model: model.ClearField("graph"), "0 graphs"),
    ],
)
def test_a_segment_other_than_described_is_refused(
    latent_bundle: Build, change: Callable[[onnx.ModelProto], object], said: str
) -> None:
    """The planted faults: each file has its right digest."""
    with pytest.raises(BundleError, match=said):
        open_bundle(rewrite(latent_bundle(), change, PART), verified=None)


def test_a_segment_of_another_place_is_refused(latent_bundle: Build) -> None:
    folder = latent_bundle()
    (folder / PART).write_bytes((folder / "segments/decode.00.onnx").read_bytes())
    with pytest.raises(BundleError, match=r"segments\.decode\[1\]\.inputs: found \['x'\] in the file"):
        open_bundle(record(folder), verified=None)


def test_a_segments_file_must_be_there(latent_bundle: Build) -> None:
    folder = latent_bundle()
    (folder / PART).unlink()
    with pytest.raises(BundleError, match=r"decode\.01\.onnx.*found no readable file"):
        open_bundle(folder, verified=None)


def test_external_data_of_a_segment_must_be_listed(latent_bundle: Build) -> None:
    folder = latent_bundle()
    model = onnx.load(folder / PART)
    onnx.save_model(model, folder / PART, save_as_external_data=True, location="decode.01.data", size_threshold=100)
    with pytest.raises(
        BundleError, match=r"segments\.decode\[1\]\.external_data: found \['segments/decode\.01\.data'\]"
    ):
        open_bundle(record(folder), verified=None)
    parts = dict(read_manifest(folder).segments)
    listed = msgspec.structs.replace(parts["decode"][1], external_data=("segments/decode.01.data",))
    parts["decode"] = (parts["decode"][0], listed, *parts["decode"][2:])
    open_bundle(record(folder, segments=parts), verified=None)


def test_segments_that_cannot_be_run_are_refused_on_opening(latent_bundle: Build) -> None:
    folder = latent_bundle()
    parts = dict(read_manifest(folder).segments)
    parts["decode"] = (parts["decode"][0], msgspec.structs.replace(parts["decode"][1], skip=None), *parts["decode"][2:])
    with pytest.raises(BundleError, match=r"segments\.decode\[1\]\.inputs: found \['mean', 'rstd', 'skip', 'x'\]"):
        open_bundle(record(folder, segments=parts), verified=None)
