"""TensorRT's session without a GPU: a stand-in for the module computes the tiny graph, and watches how it is driven.

It holds what the API documents: wrong orders, refused calls and reused memory show. What the real modules do on a GPU
only a GPU shows: see the contract suite, marked `gpu`.
"""

from __future__ import annotations

import contextlib
import enum
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.engine_spec import Profile, Range
from lqhq.runtime.engines import open_session
from lqhq.runtime.engines.setup import Setup
from lqhq.runtime.engines.trt import session as module
from lqhq.runtime.engines.trt.loading import OpenedEngine
from lqhq.runtime.engines.trt.session import PLACES, TrtSession, largest_side
from lqhq.runtime.errors import EngineError, OptionError
from lqhq.runtime.nvidia import Nvidia, NvidiaGpu

SIDES = Range(8, 16, 64)
PROFILES = (
    Profile(batch=Range(1, 1, 4), height=SIDES, width=SIDES),
    Profile(batch=Range(1, 1, 4), height=Range(16, 16, 16), width=Range(16, 16, 16)),
)


class Arrays:
    """`DeviceArrays` in host memory. A recorded graph is the list of what was launched."""

    stream = 77

    def __init__(self) -> None:
        self.memory: dict[int, torch.Tensor] = {}
        self.recorded, self.replayed, self.recording = 0, 0, False
        self.broken_capture = False

    def active(self):
        return contextlib.nullcontext()

    def _kept(self, tensor: torch.Tensor) -> torch.Tensor:
        self.memory[tensor.data_ptr()] = tensor
        return tensor

    def empty(self, shape):
        return self._kept(torch.full(shape, float("nan")))

    def reserve(self, size):
        return self._kept(torch.zeros(size, dtype=torch.uint8))

    def upload(self, array, into):
        into.copy_(torch.as_tensor(np.array(array) if isinstance(array, np.ndarray) else array))

    def download(self, array):
        return array.numpy().copy()

    def copy(self, array):
        return array.clone()

    def capture(self, launch):
        if self.broken_capture:
            raise EngineError("cuda:0", found="operation not permitted", expected="x", mend="y")
        self.recorded += 1
        self.recording = True
        launch()
        self.recording = False

        def replay():
            self.replayed += 1
            launch()

        return replay

    def wait(self): ...


class Context:
    """Refuses what the real one refuses, or cannot mean."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.shapes, self.addresses = engine, {}, {}
        self.profile: int | None = None
        self.scratch: tuple[int, int] | None = None
        self.runs = 0

    def set_optimization_profile_async(self, index, stream):
        assert stream == Arrays.stream
        self.profile = index
        return self.engine.answer("profile")

    def set_input_shape(self, name, shape):
        assert self.profile is not None, "shapes belong to a profile"
        self.shapes[name] = tuple(shape)
        return self.engine.answer("shape")

    def infer_shapes(self):
        return [name for name in ("state", "t") if name not in self.shapes or not self.engine.answer("infer")]

    def get_tensor_shape(self, name):
        assert name == "pred"
        return (9, 9) if not self.engine.answer("output") else self.shapes["state"]

    def set_tensor_address(self, name, address):
        assert address in self.engine.arrays.memory
        self.addresses[name] = address
        return self.engine.answer("address")

    def set_device_memory(self, address, size):
        assert size >= self.engine.device_memory_size_v2
        self.scratch = address, size

    def is_stream_capturable(self, stream):
        return self.runs > self.engine.runs_before_capture

    def execute_async_v3(self, stream):
        assert stream == Arrays.stream
        assert self.scratch is not None, "no memory to compute in"
        assert set(self.addresses) == {"state", "t", "pred"}
        assert self.runs or not self.engine.arrays.recording, "kernels are made at the first run: not to be recorded"
        self.runs += 1
        state, times, pred = (self.engine.arrays.memory[self.addresses[name]] for name in ("state", "t", "pred"))
        assert (tuple(state.shape), tuple(times.shape)) == (self.shapes["state"], self.shapes["t"])
        weight = torch.tensor([1.0, 2, 1]).outer(torch.tensor([1.0, 2, 1])).expand(3, 1, 3, 3) / 16
        gain = (0.5 + 0.5 * times)[:, None, None, None]
        pred.copy_(torch.nn.functional.conv2d(state, weight, padding=1, groups=3) * gain)
        return self.engine.answer("run")


class Engine:
    device_memory_size_v2 = 4096

    def __init__(self, arrays: Arrays) -> None:
        self.arrays, self.contexts = arrays, []
        self.refuses: set[str] = set()
        self.runs_before_capture = 0
        self.asked: Counter[str] = Counter()

    def answer(self, what):
        self.asked[what] += 1
        return what not in self.refuses

    def create_execution_context(self, strategy):
        assert strategy == "USER_MANAGED"
        if "context" in self.refuses:
            return None
        self.contexts.append(Context(self))
        return self.contexts[-1]


class Strategy(enum.StrEnum):
    USER_MANAGED = "USER_MANAGED"


FLAVOUR: Any = SimpleNamespace(
    module=SimpleNamespace(ExecutionContextAllocationStrategy=Strategy),
    words=SimpleNamespace(said=lambda: "out of memory"),
)


@pytest.fixture
def graph(tiny_bundle):
    return open_bundle(tiny_bundle()).graph("denoise", "fp32")


@pytest.fixture
def arrays():
    return Arrays()


@pytest.fixture
def engine(arrays):
    return Engine(arrays)


@pytest.fixture
def opened(graph, arrays, engine):
    def build(kernels=None, **options):
        setup = Setup(profiles=PROFILES, **options)
        held = OpenedEngine(engine=engine, runtime=object(), record=SimpleNamespace())
        return TrtSession(graph, FLAVOUR, held, setup, arrays, kernels)

    return build


def feed(count=1, height=8, width=8):
    rng = np.random.default_rng(count + height + width)
    state = rng.standard_normal((count, 3, height, width), np.float32)
    return {"state": state, "t": np.linspace(0.2, 1, count, dtype=np.float32)}


def test_the_first_run_warms_up_the_second_is_recorded_the_rest_replay(opened, arrays, engine):
    with opened() as session:
        values = [session.run(feed())["pred"] for _ in range(4)]
    assert all(np.array_equal(value, values[0]) for value in values)
    assert (arrays.recorded, arrays.replayed, len(engine.contexts)) == (1, 3, 1)
    assert engine.asked["shape"] == 2  # of two inputs, once


def test_each_shape_has_its_own_context_buffers_and_graph(opened, arrays, engine):
    with opened() as session:
        for _ in range(3):
            for shape in ((1, 8, 8), (2, 8, 12)):
                assert session.run(feed(*shape))["pred"].shape == (shape[0], 3, *shape[1:])
    assert (arrays.recorded, arrays.replayed, len(engine.contexts)) == (2, 4, 2)
    first, second = (set(context.addresses.values()) for context in engine.contexts)
    assert not first & second
    assert len({context.scratch for context in engine.contexts}) == 1  # they compute in one memory, in turn


def test_the_narrowest_profile_is_taken(opened, engine):
    with opened() as session:
        session.run(feed(1, 16, 16))
        session.run(feed(1, 20, 16))
    assert [context.profile for context in engine.contexts] == [1, 0]


def test_only_so_many_shapes_stay_ready(opened, engine):
    with opened() as session:
        for height in range(8, 8 + 4 * (PLACES + 1), 4):
            session.run(feed(1, height, 8))
        session.run(feed(1, 8, 8))  # was the longest unused: made again
        assert len(engine.contexts) == PLACES + 2
        assert len(session._places) == PLACES


def test_another_memory_is_recorded_anew(opened, arrays):
    """Planted: the scratch memory moves. A graph recorded with the old address would write to freed memory."""
    with opened() as session:
        for _ in range(3):
            session.run(feed())
        session._scratch = arrays.reserve(4096)
        session.run(feed())
        assert arrays.recorded == 2
        place = next(iter(session._places.values()))
        moved = arrays.reserve(4096)
        assert place.capture_key(moved) != place.capture_key(session._scratch)


def test_what_cannot_be_recorded_yet_runs_without(opened, arrays, engine):
    engine.runs_before_capture = 2  # TensorRT-RTX makes kernels in the background at first
    with opened() as session:
        for _ in range(5):
            session.run(feed())
    assert (arrays.recorded, arrays.replayed) == (1, 2)


def test_a_recording_that_fails_is_said_once_and_not_tried_again(opened, arrays):
    said: list[str] = []
    arrays.broken_capture = True
    with opened(say=said.append) as session:
        values = [session.run(feed())["pred"] for _ in range(4)]
    assert np.array_equal(values[0], values[3])
    assert said == ["denoise.fp32: runs without a CUDA graph: operation not permitted"]


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        ("profile", "refuses profile 0"),
        ("shape", r"refuses state of shape \(1, 3, 8, 8\)"),
        ("infer", "no shape for state, t"),
        ("output", r"pred of shape \(9, 9\) instead of \(1, 3, 8, 8\)"),
        ("address", "refuses memory for state"),
        ("run", "refuses a run"),
        ("context", "no execution context: out of memory"),
    ],
)
def test_what_tensorrt_refuses_is_an_error(opened, engine, refused, message):
    """It says False and goes on: whoever does not look fetches what was in memory before."""
    engine.refuses = {refused}
    with opened() as session, pytest.raises(EngineError, match=message):
        session.run(feed())


def test_a_shape_without_profile_names_those_that_are_there(opened):
    message = r"5 of 8x72 px; expected .*8-64x8-64@1-4, 16x16@1-4\. .*a profile that takes it: 8x72@5"
    with opened() as session, pytest.raises(EngineError, match=message):
        session.run(feed(5, 8, 72))


def test_outputs_are_copies_and_kept_ones_stay_tensors(opened):
    with opened(keep=frozenset({"pred"})) as session:
        first = session.run(feed())["pred"]
        before = first.clone()
        session.run({**feed(), "t": np.zeros(1, np.float32)})
        assert torch.equal(first, before)
    with opened() as session:
        assert isinstance(session.run({**feed(), "state": before})["pred"], np.ndarray)


def test_closing_saves_kernels_once_after_the_contexts(opened):
    saved = []
    kernels = SimpleNamespace(config=lambda strategy: strategy, save=lambda: saved.append(len(session._places)))
    session = opened(kernels=kernels)
    session.run(feed())
    session.close()
    session.close()
    assert saved == [0]
    with pytest.raises(EngineError, match="a closed session"):
        session.run(feed())


def test_the_largest_side_is_that_of_a_square_in_one_profile():
    one = Range(1, 1, 1)
    wide = Profile(batch=one, height=Range(8, 8, 32), width=Range(8, 8, 128))
    assert largest_side(PROFILES) == 64
    assert largest_side((wide, *PROFILES[1:])) == 32
    assert largest_side((Profile(batch=one, height=one, width=one),)) is None


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt-rtx"])
def test_without_a_gpu_nothing_is_imported_or_built(graph, monkeypatch, name):
    monkeypatch.setattr(module, "find_nvidia", lambda: Nvidia(fault="no NVIDIA driver"))
    monkeypatch.setattr(module, "load_flavour", lambda _name: pytest.fail("it must not come so far"))
    with pytest.raises(EngineError, match=rf"engine {name}: found no NVIDIA driver.*Use engine 'onnx'") as raised:
        open_session(name, graph, Setup(profiles=PROFILES))
    assert ("lqhq engines build" in str(raised.value)) == (name == "tensorrt-rtx")


def test_hopper_is_refused_before_anything_is_built(graph, monkeypatch):
    flavour = SimpleNamespace(name="tensorrt-rtx", title="TensorRT-RTX", version="1.7", targets=("sm86", "sm89"))
    monkeypatch.setattr(module, "find_nvidia", lambda: Nvidia("580.1", (NvidiaGpu("NVIDIA H100", (9, 0), 80 << 30),)))
    monkeypatch.setattr(module, "load_flavour", lambda _name: flavour)
    with pytest.raises(EngineError, match=r"NVIDIA H100 \(sm90\).*TensorRT-RTX has no Hopper target"):
        open_session("tensorrt-rtx", graph, Setup(profiles=PROFILES))


def test_the_real_module_has_all_that_the_stand_in_has():
    """Names only: without a GPU none of these can be had."""
    real = pytest.importorskip("tensorrt_rtx")
    names = {
        real.IExecutionContext: {name for name in vars(Context) if not name.startswith("_")},
        real.ICudaEngine: {"device_memory_size_v2", "create_execution_context", "create_runtime_config"}
        | {"num_io_tensors", "get_tensor_name", "get_tensor_mode", "get_tensor_dtype", "get_tensor_shape"},
        real.IRuntimeConfig: {"create_runtime_cache", "set_runtime_cache", "set_execution_context_allocation_strategy"},
        real.IRuntimeCache: {"serialize", "deserialize"},
        real.Runtime: {"get_engine_validity", "deserialize_cuda_engine"},
        real.ExecutionContextAllocationStrategy: {"USER_MANAGED"},
        real.TensorIOMode: {"INPUT"},
        real.EngineValidity: {"VALID", "SUBOPTIMAL"},
    }
    assert {kind.__name__: wanted - set(dir(kind)) for kind, wanted in names.items() if wanted - set(dir(kind))} == {}


def test_devices_and_profiles_that_make_no_sense_are_refused(graph):
    for device in ("cpu", "auto"):
        with pytest.raises(OptionError, match=f"found '{device}'.*runs on GPUs only"):
            open_session("tensorrt", graph, Setup(device=device, profiles=PROFILES))
    with pytest.raises(OptionError, match="profiles: found none"):
        open_session("tensorrt", graph, Setup())
