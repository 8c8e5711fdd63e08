"""What the graphs of each role take and give. Width of vectors is theirs; the runtime joins them by name."""

from __future__ import annotations

from lqhq.runtime.errors import BundleError
from lqhq.runtime.manifest import Graph, Manifest, Role

__all__ = ["check_contract"]

Shape = tuple[int | str, ...]
AGAIN = "Export the checkpoint again with this release."


def check_contract(manifest: Manifest, role: Role, precision: str, graph: Graph) -> None:
    """Raise `BundleError` where the tensors of `graph` are not those of `role`."""
    found = (
        {name: tensor.shape for name, tensor in graph.inputs.items()},
        {name: tensor.shape for name, tensor in graph.outputs.items()},
    )
    vectors = _vectors(manifest)
    wanted = _wanted(manifest, role, graph, vectors)
    if found != wanted:
        raise BundleError(
            f"graphs.{role}.{precision}",
            found=f"inputs {_shown(found[0])}, outputs {_shown(found[1])}",
            expected=f"inputs {_shown(wanted[0])}, outputs {_shown(wanted[1])}",
            mend=AGAIN,
        )


def _vectors(manifest: Manifest) -> dict[str, int]:
    """Width of each vector as the graph that makes it, or takes it from outside, declares it; 1 where it does not."""
    named = {"sums": ("reduce", "outputs"), "noise": ("encode", "inputs"), "cond": ("encode", "outputs")}
    widths = {}
    for name, (role, side) in named.items():
        graphs = [graph for key, variants in manifest.graphs.items() if key == role for graph in variants.values()]
        shapes = [getattr(graph, side)[name].shape for graph in graphs[:1] if name in getattr(graph, side)]
        width = shapes[0][-1] if shapes and shapes[0] else 1
        widths[name] = width if isinstance(width, int) else 1
    return widths


def _wanted(
    manifest: Manifest, role: Role, graph: Graph, vectors: dict[str, int]
) -> tuple[dict[str, Shape], dict[str, Shape]]:
    lq: Shape = ("N", manifest.channels, "H", "W")
    pooled, noise, cond = (("N", vectors[name]) for name in ("sums", "noise", "cond"))
    match role:
        case "denoise":  # var where the variance is learned
            outputs = dict.fromkeys(["pred", *(["var"] if "var" in graph.outputs else [])], lq)
            return {"state": lq, "t": ("N",)}, outputs
        case "reduce":
            return {"lq": lq, "mask": ("N", 1, "H", "W")}, {"sums": pooled, "count": ("N", 1)}
        case "encode":
            return {"pooled": pooled, "noise": noise}, {"cond": cond}
        case "decode":
            high, wide = (f"{manifest.growth}{axis}" if manifest.growth > 1 else axis for axis in "HW")
            return {"lq": lq, "cond": cond}, {"hq": ("N", 3, high, wide)}


def _shown(shapes: dict[str, Shape]) -> str:
    return ", ".join(f"{name} [{', '.join(map(str, shape))}]" for name, shape in shapes.items()) or "none"
