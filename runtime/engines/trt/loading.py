"""From the cache to an opened engine: found or built, asked whether it fits this GPU, opened, compared with its plan.

An engine that is refused is explained and built again, once. Opening needs a GPU, so all here is unverified; the order
of calls is tested with a stand-in for TensorRT.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lqhq.runtime.engine_cache.record import Record
from lqhq.runtime.engine_cache.store import CachedEngine, confirm, reject
from lqhq.runtime.engines.trt.flavour import LoadedFlavour
from lqhq.runtime.engines.trt.inspector import inspect_engine, type_name
from lqhq.runtime.engines.trt.truth import Parsed, differences
from lqhq.runtime.errors import EngineError
from lqhq.runtime.graph_file import GraphFile

__all__ = ["OpenedEngine", "check_engine", "open_engine"]

TRIES = 3  # what is there, the one before it, a new one
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedEngine:
    """`runtime` must live as long as the engine."""

    engine: Any
    runtime: Any
    record: Record


def open_engine(
    graph: GraphFile, flavour: LoadedFlavour, find: Callable[[], CachedEngine], *, say: Say
) -> OpenedEngine:
    """What `find` gives, opened. Raises `EngineError` where a new engine is refused too, or is not its plan's."""
    where, fault = f"{graph.role}.{graph.precision}", "nothing was tried"
    runtime = flavour.module.Runtime(flavour.logger)
    for _ in range(TRIES):
        cached = find()
        data = cached.read()
        flavour.words.clear()
        fault = _refused(flavour, runtime, data, where, say) or ""
        engine = None if fault else runtime.deserialize_cuda_engine(data)
        if engine is not None:
            try:
                check_engine(where, graph, flavour, engine, cached.record, say=say)
            except EngineError:
                reject(cached)  # or it would be found again
                raise
            confirm(cached)
            return OpenedEngine(engine=engine, runtime=runtime, record=cached.record)
        fault = fault or flavour.words.said()
        reject(cached)
        if cached.fresh:
            break
        say(f"{where}: the engine in the cache does not open here ({fault}); building it again")
    raise EngineError(
        where,
        found=f"a new engine that does not open: {fault}",
        expected=f"one that {flavour.title} {flavour.version} opens on this GPU",
        mend="Run `lqhq doctor`; engine 'onnx' with device 'cuda' needs no engine built.",
    )


def check_engine(
    where: str, graph: GraphFile, flavour: LoadedFlavour, engine: Any, record: Record, *, say: Say
) -> None:
    """Compare an opened engine with the bundle. Raises `EngineError` that names what differs."""
    sides: dict[bool, dict[str, tuple[str, tuple[int, ...]]]] = {True: {}, False: {}}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        is_input = engine.get_tensor_mode(name) == flavour.module.TensorIOMode.INPUT
        sides[is_input][name] = type_name(engine.get_tensor_dtype(name).name), tuple(engine.get_tensor_shape(name))
    try:
        built = inspect_engine(engine, flavour.module)
    except EngineError as error:
        built = None
        say(f"{where}: the opened engine's layers are not compared: found {error.found}")
    parsed = Parsed(plan=record.parsed, inputs=sides[True], outputs=sides[False])
    found = list(differences(graph.graph, parsed, built))
    if found:
        raise EngineError(
            where,
            found="; ".join(found)[:1000],
            expected="the engine that the bundle's plan describes",
            mend="It was removed from the cache; run again to build it anew. If that is no better, please report it.",
        )


def _refused(flavour: LoadedFlavour, runtime: Any, data: memoryview, where: str, say: Say) -> str | None:
    """Why TensorRT-RTX says that the engine cannot run here; None where it can, or cannot be asked."""
    ask = getattr(runtime, "get_engine_validity", None)
    if ask is None:
        return None
    validity, bits = ask(data)
    if validity == flavour.module.EngineValidity.VALID:
        return None
    members = flavour.module.EngineInvalidityDiagnostics.__members__.items()
    reasons = [name.lower().replace("_", " ") for name, member in members if int(bits) & int(member)]
    told = ", ".join(reasons) or "no reason given"
    if validity == flavour.module.EngineValidity.SUBOPTIMAL:
        say(f"{where}: the engine runs, but slower than one built anew: {told}")
        return None
    return told
