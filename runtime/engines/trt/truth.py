"""Whether an engine is what the bundle says: what was parsed and built against the plan. Values only, no TensorRT.

Parsed is what TensorRT understood of the ONNX file; built is what the engine itself is made of, after fusion. The
builder lists the built layers while it works, and the engine inspector does where a GPU lets the engine be opened.

| state | what it takes |
|---|---|
| verified | the parsed network is the plan's, and the types of the weights in the engine's own list of layers are too |
| partly | the parsed network is the plan's; the engine's list could not be read, or has too few weights to tell |
| unverified | the bundle has no plan |

No state says that the engine computes the right numbers: that is for the self-check, on the GPU that runs it. The size
of an engine has a lower bound alone, its weights: code takes megabytes for each profile (40 times the weights of a
small network were seen), so a doubled weight does not show in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

from lqhq.runtime.engine_spec import State
from lqhq.runtime.errors import EngineError
from lqhq.runtime.manifest import Graph, Tensor
from lqhq.runtime.precision import Float, Kind, Plan

__all__ = ["Built", "Parsed", "Verdict", "differences", "judge"]


# Bytes of parsed weights against the plan's. Parsers drop a constant that they fold into a layer's own parameters
# (epsilons, scales of Resize) and add a few of their own: at most 28 bytes were seen, in networks of up to 866 million
# parameters. No share of the weights: all norms of an SD UNet are 0.05 % of its bytes.
SPARE_BYTES = 1024
# Built weights: by the share of float32 among their elements. Compilers pad (3 channels to 4) and list what every
# profile uses, so bytes are no measure, shares are. Below 32 Ki elements padding and small constants hide the weights.
SPARE_BUILT, TELLING = 0.02, 1 << 15
# Padding of narrow layers shows longer than that: a UNet of 0.8 million parameters, of which 34.3 % were islands, was
# listed with 30.9 %.
SPARE_NARROW, NARROW = 0.05, 1 << 22
SIZES: dict[Float, int] = {"float32": 4, "float16": 2, "bfloat16": 2}
Signature = Mapping[str, tuple[str, tuple[int, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A parsed network: its counts, and name, type and shape of each input and output (-1: dynamic)."""

    plan: Plan
    inputs: Signature
    outputs: Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """The engine's own layers, counted by (kind, type of output), elements of its constants by type, its tensors."""

    layers: Mapping[tuple[str, str], int]
    weights: Mapping[str, int]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    source: str = "builder's list"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is known of an engine that did not contradict its plan; `notes` says what was compared, in words."""

    state: State
    notes: tuple[str, ...]


def judge(where: str, graph: Graph, parsed: Parsed, built: Built | None, *, data_bytes: int | None = None) -> Verdict:
    """Compare everything that is known. Raises `EngineError` that names every difference.

    where: what the message is about, for instance `denoise.fp16`. data_bytes: the size of the serialised engine.
    """
    found = [*differences(graph, parsed, built)]
    if data_bytes is not None:
        found += _too_small(parsed.plan, data_bytes)
    if found:
        raise EngineError(
            where,
            found="; ".join(found)[:1000],
            expected="the engine that the bundle's manifest describes",
            mend="Do not use it: export the checkpoint again, or use engine onnx; please report it.",
        )
    if graph.plan is None:
        return Verdict("unverified", ("the bundle has no plan to compare with: export the checkpoint again",))
    counted = "layers, types and weights of the parsed network are those of the plan"
    if built is None:
        return Verdict("partly", (counted, "the engine's own layers could not be read"))
    listed = f"read from the {built.source}: {_listed(built)}"
    if _elements(graph.plan) < TELLING:
        return Verdict("partly", (counted, listed, "the weights are too few to tell their types in the engine"))
    return Verdict("verified", (counted, listed))


def differences(graph: Graph, parsed: Parsed, built: Built | None) -> Iterator[str]:
    """Each way in which an engine is not what the bundle says, in words."""
    yield from _signature("input", graph.inputs, parsed.inputs)
    yield from _signature("output", graph.outputs, parsed.outputs)
    if graph.plan is not None:
        yield from _layers(graph.plan, parsed.plan)
        yield from _weights(graph.plan, parsed.plan)
    if built is not None:
        for side, wanted, found in (("input", graph.inputs, built.inputs), ("output", graph.outputs, built.outputs)):
            types = {name: tensor.dtype for name, tensor in wanted.items()}
            if found and dict(found) != types:
                yield f"built {side}s {_pairs(found)} instead of {_pairs(types)}"
        # Without a plan the parsed network is all there is to compare with.
        yield from _built_weights(graph.plan or parsed.plan, built)


def _signature(side: str, wanted: Mapping[str, Tensor], found: Signature) -> Iterator[str]:
    for name in sorted(wanted.keys() - found.keys()):
        yield f"{side} {name} is missing"
    for name in sorted(found.keys() - wanted.keys()):
        yield f"{side} {name} is not in the manifest"
    for name in sorted(wanted.keys() & found.keys()):
        dtype, shape = found[name]
        if dtype != wanted[name].dtype:
            yield f"{side} {name} is {dtype} instead of {wanted[name].dtype}"
        declared = wanted[name].shape
        if len(shape) != len(declared) or not all(map(_is_length, declared, shape, [side == "output"] * len(shape))):
            yield f"{side} {name} has the shape {list(shape)} instead of {list(declared)}"


def _is_length(declared: int | str, found: int, inferred: bool) -> bool:
    """Whether a length is the declared one; one that was inferred may be unknown, -1, where the declared is fixed."""
    return isinstance(declared, str) or found == declared or (inferred and found == -1)


def _layers(plan: Plan, parsed: Plan) -> Iterator[str]:
    for kind in get_args(Kind):
        for dtype in get_args(Float):
            wanted, found = (each.layers.get(kind, {}).get(dtype, 0) for each in (plan, parsed))
            if wanted != found:
                yield f"{found} {kind} layers of {dtype} instead of {wanted}"


def _weights(plan: Plan, parsed: Plan) -> Iterator[str]:
    for dtype in get_args(Float):
        wanted, found = plan.weights.get(dtype, 0), parsed.weights.get(dtype, 0)
        if abs(wanted - found) > SPARE_BYTES:
            yield f"{found} bytes of {dtype} weights instead of {wanted}"


def _built_weights(plan: Plan, built: Built) -> Iterator[str]:
    total, listed = _elements(plan), sum(built.weights.get(dtype, 0) for dtype in get_args(Float))
    if total < TELLING:
        return
    if not listed:
        yield "an engine without weights"
        return
    spare = SPARE_NARROW if total < NARROW else SPARE_BUILT
    for dtype in get_args(Float):
        wanted = plan.weights.get(dtype, 0) / SIZES[dtype] / total
        found = built.weights.get(dtype, 0) / listed
        if abs(wanted - found) > spare:
            yield f"{found:.1%} of the built weights are {dtype} instead of {wanted:.1%}"


def _too_small(plan: Plan, data_bytes: int) -> Iterator[str]:
    """An engine holds every weight once at least; nothing in it is compressed."""
    least = sum(plan.weights.values()) * (1 - SPARE_BUILT) - SPARE_BYTES
    if data_bytes < least:
        yield f"an engine of {data_bytes} bytes for {sum(plan.weights.values())} bytes of weights"


def _elements(plan: Plan) -> int:
    return sum(plan.weights.get(dtype, 0) // SIZES[dtype] for dtype in get_args(Float))


def _listed(built: Built) -> str:
    order = sorted(built.layers.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {kind} {dtype}" for (kind, dtype), count in order) or "no layers"


def _pairs(types: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {dtype}" for name, dtype in sorted(types.items())) or "none"
