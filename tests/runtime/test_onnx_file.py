"""The ONNX walker against files that the onnx package wrote, and against bytes that nobody meant."""

from __future__ import annotations

import contextlib
from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from lqhq.runtime import onnx_file
from lqhq.runtime.errors import BundleError
from lqhq.runtime.onnx_file import GraphValue, OnnxFile, read_onnx


def outside(name: str, location: str, **entries: str) -> TensorProto:
    """A float tensor [2] whose bytes lie in another file."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def value(name: str, shape: list[int | str | None], elem_type: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, elem_type, shape)


def graph(*nodes: onnx.NodeProto, **parts: list[object]) -> onnx.GraphProto:
    made = helper.make_graph(list(nodes), "g", [value("x", ["N", 3])], [value("y", ["N", 3])])
    for name, items in parts.items():
        getattr(made, name).extend(items)
    return made


def model(main: onnx.GraphProto, **parts: list[object]) -> onnx.ModelProto:
    made = helper.make_model(main, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    for name, items in parts.items():
        getattr(made, name).extend(items)
    return made


def read(tmp_path: Path, content: onnx.ModelProto | bytes) -> OnnxFile:
    path = tmp_path / "x.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    return read_onnx(path)


def identity(**attributes: object) -> onnx.NodeProto:
    return helper.make_node("Identity", ["x"], ["y"], **attributes)


def test_inputs_outputs_and_opsets_are_those_that_onnx_wrote(tmp_path: Path) -> None:
    main = helper.make_graph(
        [identity()],
        "g",
        [
            value("x", ["N", 3, None, 7]),
            value("half", [], TensorProto.FLOAT16),
            value("ids", [1], TensorProto.INT64),
        ],
        [value("y", ["a + b"]), helper.make_tensor_value_info("z", TensorProto.BOOL, None)],
    )
    found = read(tmp_path, model(main))
    assert found.inputs == {
        "x": GraphValue("float32", ("N", 3, None, 7)),
        "half": GraphValue("float16", ()),
        "ids": GraphValue("int64", (1,)),
    }
    assert found.outputs == {"y": GraphValue("float32", ("a + b",)), "z": GraphValue("ONNX type 9", None)}
    assert (found.opsets, found.domains, found.external) == ({"": 21}, {""}, {})


def hidden_tensors() -> dict[str, onnx.ModelProto]:
    """One model for each place where a tensor can hide."""
    tensor = outside("w", "evil.bin")
    sparse = onnx.SparseTensorProto(values=tensor, dims=[9])
    indices = onnx.SparseTensorProto(values=TensorProto(name="v"), indices=tensor, dims=[9])
    inner = graph(identity(), initializer=[tensor])
    deep = graph(
        helper.make_node("If", ["x"], ["y"], then_branch=graph(helper.make_node("Loop", ["x"], ["y"], body=inner)))
    )
    function = helper.make_function("f", "F", ["x"], ["y"], [identity(value=tensor)], [])
    defaults = helper.make_function("f", "F", ["x"], ["y"], [identity()], [])
    defaults.attribute_proto.append(helper.make_attribute("value", tensor))
    training = onnx.TrainingInfoProto(algorithm=graph(identity(), initializer=[tensor]))
    start = onnx.TrainingInfoProto(initialization=graph(identity(), initializer=[tensor]))
    return {
        "initializer": model(graph(identity(), initializer=[tensor])),
        "sparse values": model(graph(identity(), sparse_initializer=[sparse])),
        "sparse indices": model(graph(identity(), sparse_initializer=[indices])),
        "attribute": model(graph(identity(value=tensor))),
        "attribute list": model(graph(identity(values=[tensor, tensor]))),
        "sparse attribute": model(graph(identity(value=sparse))),
        "sparse attribute list": model(graph(identity(values=[sparse]))),
        "subgraph": model(graph(helper.make_node("If", ["x"], ["y"], then_branch=inner))),
        "subgraph list": model(graph(identity(bodies=[inner]))),
        "deep subgraph": model(deep),
        "function": model(graph(identity()), functions=[function]),
        "function default": model(graph(identity()), functions=[defaults]),
        "training": model(graph(identity()), training_info=[training]),
        "training start": model(graph(identity()), training_info=[start]),
    }


@pytest.mark.parametrize("place", hidden_tensors())
def test_external_data_is_found_wherever_it_hides(tmp_path: Path, place: str) -> None:
    assert read(tmp_path, hidden_tensors()[place]).external == {"evil.bin": 0}


def test_the_table_of_places_is_onnx_own_schema() -> None:
    """Every field of onnx.proto that holds one of the walked messages is in CHILDREN, and no other."""
    kinds = {
        "model": onnx.ModelProto,
        "training": onnx.TrainingInfoProto,
        "graph": onnx.GraphProto,
        "node": onnx.NodeProto,
        "attribute": onnx.AttributeProto,
        "sparse": onnx.SparseTensorProto,
        "function": onnx.FunctionProto,
        "tensor": onnx.TensorProto,
    }
    names = {kind.DESCRIPTOR.full_name: name for name, kind in kinds.items()}
    for name, kind in kinds.items():
        wanted = {
            field.number: names[field.message_type.full_name]
            for field in kind.DESCRIPTOR.fields
            if field.message_type is not None and field.message_type.full_name in names
        }
        assert onnx_file.CHILDREN[name] == wanted, name


def test_external_end_is_the_last_byte_needed(tmp_path: Path) -> None:
    parts = [
        outside("a", "w", offset="64", length="8"),
        outside("b", "w", length="16"),
        outside("c", "v", offset="5"),
    ]
    assert read(tmp_path, model(graph(identity(), initializer=parts))).external == {"w": 72, "v": 5}


def test_domains_of_operators_are_collected_everywhere(tmp_path: Path) -> None:
    inner = graph(helper.make_node("Gelu", ["x"], ["y"], domain="com.microsoft"))
    main = graph(identity(), helper.make_node("If", ["x"], ["z"], then_branch=inner, domain="ai.onnx"))
    assert read(tmp_path, model(main)).domains == {"", "ai.onnx", "com.microsoft"}


def dims(*sides: int) -> TensorProto:
    return TensorProto(name="w", data_type=TensorProto.FLOAT, dims=sides)


def nested(depth: int) -> onnx.GraphProto:
    inner = graph(identity())
    for _ in range(depth):
        inner = graph(identity(g=inner))
    return inner


def twice(key: str) -> TensorProto:
    tensor = outside("w", "a")
    tensor.external_data.add(key=key, value="1")
    tensor.external_data.add(key=key, value="2")
    return tensor


@pytest.mark.parametrize(
    ("main", "said"),
    [
        (graph(identity(), initializer=[dims(1 << 40)]), "shape"),
        (graph(identity(), initializer=[dims(1 << 20, 1 << 20)]), "shape"),
        (graph(identity(), initializer=[dims(-1)]), "shape"),
        (graph(identity(), initializer=[dims(*[1] * 17)]), "shape"),
        (graph(identity(), initializer=[outside("w", "a", offset="-1")]), "external data offset '-1'"),
        (graph(identity(), initializer=[outside("w", "a", length="9" * 20)]), "external data length"),
        (graph(identity(), initializer=[twice("offset")]), "'offset' twice"),
        (graph(identity(), initializer=[dims(2), TensorProto(data_location=1)]), "no location"),
        (graph(identity(), input=[value("x", [1])]), "'x' twice"),
        (nested(25), "nested more than 64 deep"),
    ],
)
def test_absurd_graphs_are_refused(tmp_path: Path, main: onnx.GraphProto, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        read(tmp_path, model(main))


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    whole = model(graph(identity())).SerializeToString()
    for content, said in {
        b"": "0 bytes",
        b"GIF89a, surely": "x.onnx",
        whole + model(graph(identity())).SerializeToString(): "2 graphs",
        onnx.ModelProto(ir_version=10).SerializeToString(): "0 graphs",
        onnx.ModelProto(graph=graph(identity())).SerializeToString(): "0 opsets",
        whole[:-1]: "x.onnx",
    }.items():
        with pytest.raises(BundleError, match=said):
            read(tmp_path, content)


SEED = model(
    graph(
        identity(value=outside("w", "evil.bin")),
        helper.make_node("If", ["x"], ["y"], then_branch=graph(identity())),
        initializer=[outside("v", "a.data", offset="4", length="8"), dims(2, 3)],
    )
).SerializeToString()


def mutated(data: bytes, edits: list[tuple[int, int, int]]) -> bytes:
    """Overwrite, insert or delete single bytes at positions taken modulo the length."""
    changed = bytearray(data)
    for kind, at, byte in edits:
        at %= len(changed) or 1
        changed[at : at + (kind != 1)] = b"" if kind == 2 else bytes([byte])
    return bytes(changed)


EDITS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1 << 16), st.integers(0, 255)), max_size=12)


def survives(path: Path, data: bytes) -> None:
    """Reading succeeds or raises BundleError; anything else fails the test."""
    path.write_bytes(data)
    with contextlib.suppress(BundleError):
        read_onnx(path)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(EDITS)
def test_mutated_files_never_raise_anything_else(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[int, int, int]]
) -> None:
    survives(tmp_path_factory.getbasetemp() / "fuzz.onnx", mutated(SEED, edits))


@pytest.mark.slow
@settings(max_examples=5_000, deadline=None, database=None)
@given(st.one_of(EDITS.map(lambda edits: mutated(SEED, edits)), st.binary(max_size=200)))
def test_mutated_files_never_raise_anything_else_long(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    survives(tmp_path_factory.getbasetemp() / "fuzz.onnx", data)


def test_a_forgotten_place_turns_the_search_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: without field 11 of attributes, a list of subgraphs hides its tensor."""
    monkeypatch.setitem(onnx_file.CHILDREN, "attribute", {5: "tensor", 6: "graph"})
    assert read(tmp_path, hidden_tensors()["subgraph list"]).external == {}
    with pytest.raises(AssertionError):
        test_the_table_of_places_is_onnx_own_schema()
