"""From a bundle's graph to an engine: parse, check, configure, build, check again.

TensorRT says that something failed by returning None or False, and goes on: every result is looked at here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lqhq.runtime.axes import shape_of
from lqhq.runtime.engine_spec import EngineSpec, Flavour, Profile, State
from lqhq.runtime.engines.trt.flavour import LoadedFlavour, build_targets, load_flavour
from lqhq.runtime.engines.trt.inspector import built_from_report, inspect_engine
from lqhq.runtime.engines.trt.network import parse_network, read_parsed
from lqhq.runtime.engines.trt.progress import OnProgress, Watch, make_monitor
from lqhq.runtime.engines.trt.truth import Built, judge
from lqhq.runtime.errors import CancelledError, EngineError
from lqhq.runtime.graph_file import GraphFile
from lqhq.runtime.manifest import Tensor
from lqhq.runtime.nvidia import find_nvidia
from lqhq.runtime.precision import Plan
from lqhq.runtime.profiles import describe, takes_image

__all__ = ["BuiltEngine", "build_engine"]

MAX_WARNINGS = 5  # of the builder's, kept as notes


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltEngine:
    """A serialised engine in memory, and what is known of it.

    `data` is a view of the builder's own buffer, in bytes: write it as it is, nothing is copied. `parsed` is what
    TensorRT understood of the graph. `state` and `notes` are `truth.judge`'s. `seconds` are those of parsing and
    building. `timing_cache` is what the build learnt, for the next one; None where the flavour keeps none.
    """

    data: memoryview
    flavour: Flavour
    version: str
    parsed: Plan
    state: State
    notes: tuple[str, ...]
    seconds: float
    timing_cache: bytes | None = None


def build_engine(
    graph: GraphFile,
    spec: EngineSpec,
    *,
    progress: OnProgress | None = None,
    cancel: Callable[[], bool] | None = None,
    timing_cache: bytes | None = None,
) -> BuiltEngine:
    """Build the engine of one graph for the targets and shapes of `spec`.

    progress: told where the build stands, from the builder's threads, a few times a second at most.
    cancel: asked after each of the builder's steps, which may be minutes apart; True stops the build.
    timing_cache: what an earlier build learnt; only full TensorRT keeps one.

    Raises `EngineError` where the engine cannot be built or is not what the plan says, `CancelledError` when told to
    stop, and whatever `progress` and `cancel` raise.
    """
    flavour = load_flavour(spec.flavour)
    if timing_cache is not None and flavour.name == "tensorrt-rtx":
        raise _failed(graph, "a timing cache", f"none: {flavour.title} times nothing", "Leave it out.")
    targets = build_targets(flavour, spec.targets)
    _check_fit(graph, spec.profiles)
    watch = Watch(len(spec.profiles), progress, cancel)
    with flavour.lock:
        flavour.words.clear()
        try:
            return _build(_Order(flavour, graph, spec.profiles, targets, timing_cache), watch)
        finally:
            flavour.words.clear()  # the list of a large engine's layers is megabytes


@dataclass(frozen=True, slots=True)
class _Order:
    """What is built of what."""

    flavour: LoadedFlavour
    graph: GraphFile
    profiles: tuple[Profile, ...]
    targets: tuple[str, ...]
    timing_cache: bytes | None


def _build(order: _Order, watch: Watch) -> BuiltEngine:
    flavour, graph = order.flavour, order.graph
    where = _where(graph)
    builder = flavour.module.Builder(flavour.logger)
    network = parse_network(flavour, builder, graph.path)
    parsed = read_parsed(network.definition, flavour.module)
    judge(where, graph.graph, parsed, None)  # before the long part
    config = _configure(order, builder)
    monitor = make_monitor(flavour.module, watch)
    config.progress_monitor = monitor
    memory = builder.build_serialized_network(network.definition, config)
    if watch.error is not None:
        raise watch.error
    if watch.cancelled:
        raise CancelledError(
            f"build of {where}",
            found="the request to stop",
            expected="to go on",
            mend="Nothing was kept; start the build again.",
        )
    if memory is None or not memory.nbytes:
        mend = "Use engine onnx, another precision, or fewer or smaller profiles; please report the graph."
        raise _failed(graph, flavour.words.said(), f"an engine of {flavour.title} {flavour.version}", mend)
    data = memoryview(memory).cast("B")
    built = _inspected(order, data) or built_from_report(flavour.words.report or "")
    verdict = judge(where, graph.graph, parsed, built, data_bytes=data.nbytes)
    watch.end()
    return BuiltEngine(
        data=data,
        flavour=flavour.name,
        version=flavour.version,
        parsed=parsed.plan,
        state=verdict.state,
        notes=(
            *verdict.notes,
            *(f"warning: {' '.join(each.split())}" for each in flavour.words.warnings[:MAX_WARNINGS]),
        ),
        seconds=watch.seconds,
        timing_cache=_learnt(config) if flavour.name == "tensorrt" else None,
    )


def _configure(order: _Order, builder: Any) -> Any:
    """Targets, profiles and flags of the build."""
    flavour, module = order.flavour, order.flavour.module
    config = builder.create_builder_config()
    # Layers are listed with their types only at this verbosity; the engine grows by kilobytes.
    config.profiling_verbosity = module.ProfilingVerbosity.DETAILED
    # On by default, and it makes float32 products of 10-bit mantissas: fp32 would not be float32.
    config.clear_flag(module.BuilderFlag.TF32)
    # x - x is not 0 where x is inf: what overflows must be seen. Engines of the demo came out equal in size and layers.
    config.set_flag(module.BuilderFlag.STRICT_NANS)
    if flavour.targets:
        config.num_compute_capabilities = len(order.targets)
        for index, target in enumerate(order.targets):
            capability = module.ComputeCapability.__members__[target.upper()]
            if not config.set_compute_capability(capability, index):
                raise _failed(order.graph, flavour.words.said(), f"the target {target}", "Leave that target out.")
    for profile in order.profiles:
        _add_profile(order, builder, config, profile)
    if flavour.name == "tensorrt":
        # One of another GPU or version is refused; then the build times everything anew.
        caches = (config.create_timing_cache(learnt) for learnt in (order.timing_cache or b"", b""))
        if not any(one is not None and config.set_timing_cache(one, ignore_mismatch=False) for one in caches):
            raise _failed(order.graph, flavour.words.said(), "to take an empty timing cache", "See `lqhq doctor`.")
    return config


def _add_profile(order: _Order, builder: Any, config: Any, profile: Profile) -> None:
    shapes = builder.create_optimization_profile()
    for name, tensor in order.graph.graph.inputs.items():
        shapes.set_shape(name, *_ends(tensor, profile))
    if config.add_optimization_profile(shapes) < 0:
        found, expected = order.flavour.words.said(), f"to take the profile {describe(profile)}"
        raise _failed(order.graph, found, expected, "Choose shapes that the bundle's graph takes.")


def _ends(tensor: Tensor, profile: Profile) -> list[tuple[int, ...]]:
    """The least, the best and the largest shape of an input."""
    lengths = zip(profile.batch, profile.height, profile.width, strict=True)
    return [shape_of(tensor.shape, n, height, width) for n, height, width in lengths]


def _inspected(order: _Order, data: memoryview) -> Built | None:
    """What the inspector says where a GPU lets the engine be opened; None where none does. Unverified on a GPU."""
    gpus = find_nvidia().gpus
    if not gpus or gpus[0].sm not in order.targets:
        return None
    flavour = order.flavour
    engine = flavour.module.Runtime(flavour.logger).deserialize_cuda_engine(data)
    if engine is None:
        mend = "The builder and the driver do not fit; see `lqhq doctor`."
        raise _failed(order.graph, flavour.words.said(), f"an engine that {gpus[0]} opens", mend)
    try:
        return inspect_engine(engine, flavour.module)
    except EngineError:  # a report that cannot be read is no fault of the engine: its state stays `partly`
        return None


def _learnt(config: Any) -> bytes:
    return bytes(memoryview(config.get_timing_cache().serialize()))


def _check_fit(graph: GraphFile, profiles: tuple[Profile, ...]) -> None:
    """Refuse sides for a graph of vectors, and ranges that are none: TensorRT takes a batch of zero."""
    for profile in profiles:
        ranges = (profile.batch, profile.height, profile.width)
        if not all(1 <= least <= best <= most for least, best, most in ranges):
            raise _failed(
                graph, f"the profile {describe(profile)}", "ranges from 1 up, the best in between", "Mend it."
            )
        if not takes_image(graph.graph.inputs) and (profile.height.most, profile.width.most) != (1, 1):
            raise _failed(
                graph, f"the profile {describe(profile)}", "sides of 1: the graph takes no image", "Write 1x1@BATCH."
            )


def _where(graph: GraphFile) -> str:
    return f"{graph.bundle} {graph.role}.{graph.precision}"


def _failed(graph: GraphFile, found: str, expected: str, mend: str) -> EngineError:
    return EngineError(_where(graph), found=found, expected=expected, mend=mend)
