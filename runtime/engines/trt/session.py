"""TensorRT and TensorRT-RTX behind `Session`: one code for both modules. Everything here is unverified on a GPU."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from lqhq.runtime.axes import shape_of
from lqhq.runtime.engine_cache.engine_for import engine_for
from lqhq.runtime.engine_cache.names import ENGINES_FOLDER
from lqhq.runtime.engine_cache.this_machine import this_machine
from lqhq.runtime.engine_spec import EngineSpec, Flavour, Profile
from lqhq.runtime.engines.device_arrays import DeviceArrays, GpuArrays
from lqhq.runtime.engines.feed_check import check_feed
from lqhq.runtime.engines.setup import Setup, parse_device
from lqhq.runtime.engines.trt.flavour import LoadedFlavour, load_flavour, refusal
from lqhq.runtime.engines.trt.kernel_cache import KernelCache
from lqhq.runtime.engines.trt.loading import OpenedEngine, open_engine
from lqhq.runtime.engines.trt.place import Place
from lqhq.runtime.errors import EngineError, OptionError
from lqhq.runtime.graph_file import GraphFile
from lqhq.runtime.nvidia import Nvidia, NvidiaGpu, find_nvidia
from lqhq.runtime.profiles import choose_profile, describe
from lqhq.runtime.session import DeviceArray, Feed, Fetch

__all__ = ["TrtSession", "largest_side", "open_tensorrt", "open_tensorrt_rtx"]

PLACES = 4  # shapes that stay ready: tiles of a plan have one, the last batch and small images make a few more


def open_tensorrt(graph: GraphFile, setup: Setup) -> TrtSession:
    """A session of full TensorRT. Raises `EngineError` before anything is built where it cannot run here."""
    return _open("tensorrt", graph, setup)


def open_tensorrt_rtx(graph: GraphFile, setup: Setup) -> TrtSession:
    """A session of TensorRT-RTX. Raises `EngineError` before anything is built where it cannot run here."""
    return _open("tensorrt-rtx", graph, setup)


def _open(name: Flavour, graph: GraphFile, setup: Setup) -> TrtSession:
    device = parse_device("cuda" if setup.device is None else setup.device)
    if device.kind != "cuda":
        raise OptionError(
            "device",
            found=repr(str(device)),
            expected="'cuda', or another GPU such as 'cuda:1'",
            mend=f"{name} runs on GPUs only; engine 'onnx' runs on the CPU, and with 'auto' on what is there.",
        )
    if not setup.profiles:
        raise OptionError(
            "profiles",
            found="none",
            expected=f"the shapes that the engine of {graph.role} is built for",
            mend="`Restorer.open` takes those of the bundle; `runtime.profiles.default_profiles` makes them.",
        )
    nvidia = find_nvidia()
    gpu = _required_gpu(name, nvidia, device.ordinal)
    flavour = load_flavour(name)
    targets = (gpu.sm,) if flavour.targets else ()
    reason = refusal(flavour, gpu.sm) if targets else None
    if reason:
        raise EngineError(f"engine {name}", found=str(gpu), expected=reason, mend="Use engine 'tensorrt' or 'onnx'.")
    arrays = GpuArrays(device.ordinal)
    here = this_machine((name,), ordinal=device.ordinal, nvidia=nvidia)
    folder, say = ENGINES_FOLDER if setup.cache is None else setup.cache, setup.say
    spec = EngineSpec(flavour=flavour.name, targets=targets, profiles=setup.profiles)
    with arrays.active():
        opened = open_engine(graph, flavour, lambda: engine_for(graph, spec, here, folder=folder, say=say), say=say)
        kernels = KernelCache(opened, folder=folder, here=here, say=say) if targets else None
    return TrtSession(graph, flavour, opened, setup, arrays, kernels)


def _required_gpu(name: Flavour, nvidia: Nvidia, ordinal: int) -> NvidiaGpu:
    """The GPU to run on, by the order of buses. Raises `EngineError`, before a module is imported or an engine built.

    CUDA may number GPUs otherwise; where they differ in kind, CUDA_DEVICE_ORDER=PCI_BUS_ID makes both orders one.
    """
    if ordinal < len(nvidia.gpus):
        return nvidia.gpus[ordinal]
    build = " To build engines here for other machines: `lqhq engines build`." if name == "tensorrt-rtx" else ""
    raise EngineError(
        f"engine {name}",
        found=nvidia.fault or f"{len(nvidia.gpus)} NVIDIA GPUs, none with the number {ordinal}",
        expected="an NVIDIA GPU and its driver, to run on",
        mend=f"Use engine 'onnx', which runs everywhere.{build}",
    )


def largest_side(profiles: Sequence[Profile]) -> int | None:
    """The side of the largest square that any profile takes; None for a graph of vectors."""
    sides = [min(profile.height.most, profile.width.most) for profile in profiles]
    return None if max(sides) == 1 else max(sides)


class TrtSession:
    """An opened engine. Each shape has a context of its own, all of which compute in one memory, one after another."""

    def __init__(
        self,
        graph: GraphFile,
        flavour: LoadedFlavour,
        opened: OpenedEngine,
        setup: Setup,
        arrays: DeviceArrays,
        kernels: KernelCache | None,
    ) -> None:
        self._graph, self._flavour, self._setup, self._arrays = graph, flavour, setup, arrays
        self._opened: OpenedEngine | None = opened
        self._kernels = kernels
        self._where = f"{graph.role}.{graph.precision}"
        inputs = graph.graph.inputs
        self._shapes = {name: tensor.shape for name, tensor in inputs.items()}
        self._integers = frozenset(name for name, tensor in inputs.items() if tensor.dtype == "int64")
        self._places: OrderedDict[tuple[int, int, int, int], Place] = OrderedDict()
        self._scratch: DeviceArray | None = None

    @property
    def largest(self) -> int | None:
        return largest_side(self._setup.profiles)

    @property
    def profiles(self) -> tuple[Profile, ...]:
        return self._setup.profiles

    def run(self, feed: Feed) -> Fetch:
        """As `Session` says. Raises `EngineError` also for a shape that no profile takes."""
        if self._opened is None:
            raise EngineError(
                self._where, found="a closed session", expected="an open one", mend="Open the restorer again."
            )
        lengths = check_feed(self._where, self._shapes, feed, integers=self._integers)
        shape = lengths.get("N", 1), lengths.get("H", 1), lengths.get("W", 1)
        arrays, keep, fetch = self._arrays, self._setup.keep, dict[str, Any]()
        with arrays.active():
            place = self._place(self._opened, shape)
            if self._scratch is None:
                self._scratch = arrays.reserve(max(1, int(self._opened.engine.device_memory_size_v2)))
            for name, array in place.run(feed, scratch=self._scratch).items():
                # The buffers are the place's: nobody else may hold them.
                fetch[name] = arrays.copy(array) if name in keep else arrays.download(array)
            arrays.wait()
        return fetch

    def _place(self, opened: OpenedEngine, shape: tuple[int, int, int]) -> Place:
        profiles = self._setup.profiles
        index = choose_profile(profiles, *shape)
        if index is None:
            raise no_profile(self._where, profiles, shape)
        key = (index, *shape)
        if key not in self._places:
            while len(self._places) >= PLACES:
                self._arrays.wait()
                self._places.popitem(last=False)
            tensors = self._graph.graph
            self._places[key] = Place(
                self._where,
                self._context(opened),
                self._arrays,
                profile=index,
                inputs={name: shape_of(tensor.shape, *shape) for name, tensor in tensors.inputs.items()},
                outputs={name: shape_of(tensor.shape, *shape) for name, tensor in tensors.outputs.items()},
                integers=self._integers,
                say=self._setup.say,
            )
        self._places.move_to_end(key)
        return self._places[key]

    def _context(self, opened: OpenedEngine) -> Any:
        """A context without memory of its own: see `Place.run`."""
        strategy = self._flavour.module.ExecutionContextAllocationStrategy.USER_MANAGED
        asked = strategy if self._kernels is None else self._kernels.config(strategy)
        context = opened.engine.create_execution_context(asked)
        if context is None:
            raise EngineError(
                self._where,
                found=f"no execution context: {self._flavour.words.said()}",
                expected="one for each shape",
                mend="Close what else uses the GPU's memory, or use engine 'onnx'.",
            )
        return context

    def close(self) -> None:
        """Contexts go before their engine, and the engine before its runtime."""
        if self._opened is None:
            return
        with self._arrays.active():
            self._arrays.wait()
            self._places.clear()
            if self._kernels is not None:
                self._kernels.save()
            self._opened = self._kernels = self._scratch = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def no_profile(where: str, profiles: Sequence[Profile], shape: tuple[int, int, int]) -> EngineError:
    """The error for a batch of tiles that the engine was not built for."""
    count, height, width = shape
    return EngineError(
        where,
        found=f"{count} of {height}x{width} px",
        expected=f"what the engine was built for: {', '.join(map(describe, profiles))}",
        mend=f"Use such a --tile, or give `Restorer.open` a profile that takes it: {height}x{width}@{count}.",
    )
