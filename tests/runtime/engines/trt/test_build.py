"""Building for real with TensorRT-RTX, which needs no GPU; every way to fail is an error with a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from lqhq.runtime import manifest as m
from lqhq.runtime.engine_spec import EngineSpec, Profile, Range
from lqhq.runtime.engines.trt import build as b
from lqhq.runtime.engines.trt.flavour import LoadedFlavour, load_flavour
from lqhq.runtime.engines.trt.inspector import built_from_report
from lqhq.runtime.engines.trt.log import Words
from lqhq.runtime.engines.trt.progress import Progress
from lqhq.runtime.errors import CancelledError, EngineError
from lqhq.runtime.graph_file import GraphFile
from lqhq.runtime.manifest import Tensor
from lqhq.runtime.nvidia import Nvidia
from lqhq.runtime.precision import Precision

Net = Callable[..., GraphFile]
Spec = Callable[..., EngineSpec]
ONE = Profile(batch=Range(1, 1, 1), height=Range(16, 16, 16), width=Range(16, 16, 16))


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_an_engine_is_verified_by_the_layers_that_the_builder_lists(net: Net, spec: Spec, precision: Precision) -> None:
    graph = net(precision)
    built = b.build_engine(graph, spec(profiles=(ONE,)))
    assert graph.graph.plan is not None
    assert built.state == "verified", built.notes
    assert built.parsed.layers == graph.graph.plan.layers
    assert built.data.nbytes > sum(graph.graph.plan.weights.values())
    assert (built.flavour, built.timing_cache, built.data.format) == ("tensorrt-rtx", None, "B")
    assert built.version == load_flavour("tensorrt-rtx").version


def test_one_engine_for_several_gpus_and_profiles_with_progress(net: Net, spec: Spec) -> None:
    seen: list[Progress] = []
    built = b.build_engine(net("fp16"), spec("sm86", "sm89", "sm120"), progress=seen.append)
    assert built.state == "verified"
    done = [state.done for state in seen]
    assert done == sorted(done)
    assert done[-1] == 1.0
    assert 0 < seen[-1].seconds <= built.seconds


def test_data_is_written_without_a_copy(net: Net, spec: Spec, tmp_path: Path) -> None:
    data = b.build_engine(net("fp16"), spec(profiles=(ONE,))).data
    (tmp_path / "engine").write_bytes(data)
    assert (tmp_path / "engine").stat().st_size == data.nbytes


@pytest.fixture
def unbuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails the test where a build begins: what is known to be wrong must not cost one."""

    def begin(*_: object) -> None:
        raise AssertionError("a build began")

    monkeypatch.setattr(b, "_configure", begin)


@pytest.mark.usefixtures("unbuilt")
def test_fp32_under_an_fp16_plan_is_refused_before_the_build(net: Net, spec: Spec, like: Callable[..., Any]) -> None:
    planted = like(net("fp32"), plan=net("fp16").graph.plan)
    with pytest.raises(EngineError, match=r"net denoise\.fp32: found .*0 convolution layers of float16 instead of 3"):
        b.build_engine(planted, spec())


@pytest.mark.usefixtures("unbuilt")
@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ({}, "output pred is missing"),
        ({"dtype": "float16"}, "output pred is float32 instead of float16"),
        ({"shape": ("N", 6, "2H", "2W")}, "output pred has the shape"),
    ],
)
def test_other_outputs_than_the_manifests_are_refused(
    net: Net, spec: Spec, like: Callable[..., Any], outputs: dict[str, Any], words: str
) -> None:
    graph = net("fp16")
    pred = graph.graph.outputs["pred"]
    wanted = {"pred": msgspec.structs.replace(pred, **outputs)} if outputs else {"pred": pred, "var": pred}
    with pytest.raises(EngineError, match=words.replace("pred is missing", "var is missing")):
        b.build_engine(like(graph, outputs=wanted), spec())


def test_half_weights_built_as_single_are_refused(net: Net, spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parsed network is the plan's, and the builder lists single-precision weights all the same."""
    monkeypatch.setattr(
        b, "built_from_report", lambda text: built_from_report(text.replace("Datatype: Half", "Datatype: Float"))
    )
    with pytest.raises(EngineError, match=r"100\.0% of the built weights are float32 instead of 0\.\d%"):
        b.build_engine(net("fp16"), spec(profiles=(ONE,)))


def test_an_engine_whose_list_cannot_be_read_is_partly(net: Net, spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(b, "built_from_report", lambda _text: None)
    assert b.build_engine(net("fp16"), spec(profiles=(ONE,))).state == "partly"


def test_without_a_plan_an_engine_is_unverified(net: Net, spec: Spec, like: Callable[..., Any]) -> None:
    assert b.build_engine(like(net("fp16"), plan=None), spec(profiles=(ONE,))).state == "unverified"


def test_a_build_that_returns_none_quotes_the_builder(net: Net, spec: Spec, like: Callable[..., Any]) -> None:
    path = net("fp16").path.with_name("broken.onnx")
    _mismatched(path)
    broken = replace(like(net("fp16"), plan=None), path=path)
    with pytest.raises(EngineError, match=r"found IBuilder::buildSerializedNetwork: .*expected an engine of TensorRT-"):
        b.build_engine(broken, spec(profiles=(ONE,)))


def _mismatched(path: Path) -> None:
    """state + its own two halves of the width: only 1 px wide images could be added."""
    import onnx
    from onnx import TensorProto, helper

    image = ["N", 3, "H", "W"]
    nodes = [
        helper.make_node("Unsqueeze", ["t", "axes"], ["gain"]),
        helper.make_node("Mul", ["state", "gain"], ["scaled"]),
        helper.make_node("Concat", ["scaled", "scaled"], ["wide"], axis=3),
        helper.make_node("Add", ["wide", "state"], ["pred"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("state", TensorProto.FLOAT, image),
            helper.make_tensor_value_info("t", TensorProto.FLOAT, ["N"]),
        ],
        [helper.make_tensor_value_info("pred", TensorProto.FLOAT, ["N", 3, "H", "V"])],
        [helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3])],
    )
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)


def test_cancel_stops_the_build_and_the_next_one_works(net: Net, spec: Spec) -> None:
    with pytest.raises(CancelledError, match="Nothing was kept"):
        b.build_engine(net("fp16"), spec(), cancel=lambda: True)
    assert b.build_engine(net("fp16"), spec(profiles=(ONE,)), cancel=lambda: False).data.nbytes


def test_what_progress_raises_comes_out(net: Net, spec: Spec) -> None:
    def fail(_state: Progress) -> None:
        raise ZeroDivisionError("theirs")

    with pytest.raises(ZeroDivisionError, match="theirs"):
        b.build_engine(net("fp16"), spec(), progress=fail)


@pytest.mark.usefixtures("unbuilt")
@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Profile(batch=Range(0, 1, 4), height=Range(16, 16, 16), width=Range(16, 16, 16)), "16x16@0-4"),
        (Profile(batch=Range(1, 1, 4), height=Range(16, 8, 16), width=Range(16, 16, 16)), "best in between"),
    ],
)
def test_ranges_that_are_none_are_refused(net: Net, spec: Spec, bad: Profile, words: str) -> None:
    with pytest.raises(EngineError, match=words):
        b.build_engine(net("fp16"), spec(profiles=(bad,)))


@pytest.mark.usefixtures("unbuilt")
def test_what_the_flavour_cannot_do_is_refused(
    net: Net, spec: Spec, like: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = net("fp16")
    with pytest.raises(EngineError, match="no Hopper target"):
        b.build_engine(graph, spec("sm90"))
    with pytest.raises(EngineError, match="found a timing cache"):
        b.build_engine(graph, spec(), timing_cache=b"learnt")
    vectors = like(graph, inputs={"t": graph.graph.inputs["t"]})
    with pytest.raises(EngineError, match="takes no image"):
        b.build_engine(vectors, spec())
    monkeypatch.setattr("lqhq.runtime.engines.trt.flavour.find_nvidia", lambda: Nvidia(fault="no NVIDIA driver"))
    with pytest.raises(EngineError, match="found no NVIDIA driver"):
        b.build_engine(graph, EngineSpec(flavour="tensorrt-rtx", profiles=(ONE,)))


def test_an_input_that_is_not_fixed_as_the_manifest_says_is_refused(
    net: Net, spec: Spec, like: Callable[..., Any]
) -> None:
    graph = net("fp16")
    fixed = like(graph, inputs={**graph.graph.inputs, "t": Tensor(dtype="float32", shape=(3,), per="sample")})
    with pytest.raises(EngineError, match=r"input t has the shape \[-1\] instead of \[3\]"):
        b.build_engine(fixed, spec())


@pytest.fixture
def wide_attention(tmp_path: Path) -> GraphFile:
    """One head of 512 over any length, as in the middle of a VAE: no kernel is made for it.

    Three inputs: given one tensor as query, key and value, TensorRT-RTX 1.7.1 dies of a segmentation fault.
    """
    import onnx
    from onnx import TensorProto, helper

    axes = ["N", 1, "W", 512]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, axes) for name in ("q", "k", "v", "y")]
    graph = helper.make_graph([helper.make_node("Attention", ["q", "k", "v"], ["y"])], "g", values[:3], values[3:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
    onnx.save_model(model, tmp_path / "denoise.fp32.onnx")
    tensor = Tensor(dtype="float32", shape=("N", 1, "W", 512))
    fields = m.Graph(
        file="x.onnx",
        inputs=dict.fromkeys("qkv", tensor),
        outputs={"y": tensor},
        memory=m.Memory(fixed=1, per_pixel=1.0),
    )
    return GraphFile(
        bundle="net",
        role="denoise",
        precision="fp32",
        path=tmp_path / "denoise.fp32.onnx",
        graph=fields,
        digest="0" * 64,
    )


def test_attention_without_a_kernel_of_its_own_is_decomposed(
    wide_attention: GraphFile, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = Profile(batch=Range(1, 1, 2), height=Range(1, 1, 1), width=Range(16, 64, 64))
    assert b.build_engine(wide_attention, spec(profiles=(lengths,))).data.nbytes
    monkeypatch.setattr("lqhq.runtime.engines.trt.network._let_attention_decompose", lambda *_: None)
    with pytest.raises(EngineError, match="not supported by a dedicated kernel"):
        b.build_engine(wide_attention, spec(profiles=(lengths,)))


class _Config:
    """As full TensorRT's configuration, which does not install here: what is asked of it, a cache that may not fit."""

    def __init__(self, fits: bool) -> None:
        self.fits, self.given = fits, b""
        self.flags: dict[str, bool] = {}

    def set_flag(self, flag: str) -> None:
        self.flags[flag] = True

    def clear_flag(self, flag: str) -> None:
        self.flags[flag] = False

    def create_timing_cache(self, data: bytes) -> str:
        self.given = data
        return "cache"

    def set_timing_cache(self, _cache: str, ignore_mismatch: bool) -> bool:
        return (self.fits or not self.given) and not ignore_mismatch


@pytest.mark.parametrize("fits", [True, False])
def test_full_tensorrt_is_given_its_timing_cache_no_target_and_no_tf32(net: Net, fits: bool) -> None:
    names = SimpleNamespace(DETAILED="detailed", TF32="tf32", STRICT_NANS="strict")
    full = LoadedFlavour(
        name="tensorrt",
        title="TensorRT",
        module=SimpleNamespace(ProfilingVerbosity=names, BuilderFlag=names),
        version="11.4.0",
        targets=(),
        words=Words(),
        logger=None,
    )
    config = _Config(fits)
    order = b._Order(full, net("fp16"), (), ("sm90",), b"learnt")
    builder = SimpleNamespace(create_builder_config=lambda: config)
    assert b._configure(order, builder) is config  # one of another GPU or version is refused, and an empty one given
    assert (config.given, config.flags) == (b"learnt" if fits else b"", {"tf32": False, "strict": True})
    assert not hasattr(config, "num_compute_capabilities")


@pytest.mark.gpu
def test_on_a_gpu_the_inspector_speaks(net: Net, spec: Spec) -> None:
    built = b.build_engine(net("fp16"), EngineSpec(flavour="tensorrt-rtx", profiles=(ONE,)))
    assert built.state == "verified"
    assert any("engine inspector" in note for note in built.notes)
