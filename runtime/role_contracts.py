"""What the graphs of each role take and give. Width of vectors is theirs; the runtime joins them by name."""

from __future__ import annotations

from lqhq.runtime.errors import BundleError
from lqhq.runtime.latent_spec import Latent
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
    wanted = _wanted(manifest, role, graph, _widths(manifest))
    if found != wanted:
        raise BundleError(
            f"graphs.{role}.{precision}",
            found=f"inputs {_shown(found[0])}, outputs {_shown(found[1])}",
            expected=f"inputs {_shown(wanted[0])}, outputs {_shown(wanted[1])}",
            mend=AGAIN,
        )


def _widths(manifest: Manifest) -> dict[str, Shape]:
    """The sides of each vector, and of each condition, as the graph that gives or takes it declares; 1 elsewhere."""
    named = {
        "sums": ("reduce", "outputs", "sums"),
        "noise": ("encode", "inputs", "noise"),
        "cond": ("encode", "outputs", "cond"),
        "words": ("denoise", "inputs", "cond"),
        "logits": ("tag", "outputs", "logits"),
    }
    widths: dict[str, Shape] = {}
    for name, (role, side, tensor) in named.items():
        graphs = [graph for key, variants in manifest.graphs.items() if key == role for graph in variants.values()]
        shapes = [getattr(graph, side)[tensor].shape for graph in graphs[:1] if tensor in getattr(graph, side)]
        rest = shapes[0][1:] if shapes else ()
        widths[name] = tuple(axis if isinstance(axis, int) else 1 for axis in rest) or (1,)
    return widths


def _wanted(
    manifest: Manifest, role: Role, graph: Graph, widths: dict[str, Shape]
) -> tuple[dict[str, Shape], dict[str, Shape]]:
    if manifest.latent is not None:
        return _of_latents(manifest, manifest.latent, role, widths)
    lq: Shape = ("N", manifest.channels, "H", "W")
    pooled, noise, cond = (("N", *widths[name][-1:]) for name in ("sums", "noise", "cond"))
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
        case _:  # text and tag: the manifest has refused them without a latent
            return {}, {}


def _of_latents(
    manifest: Manifest, latent: Latent, role: Role, widths: dict[str, Shape]
) -> tuple[dict[str, Shape], dict[str, Shape]]:
    """Sides are those of the latent canvas, in every role."""
    state: Shape = ("N", latent.channels, "H", "W")
    image: Shape = ("N", 3, f"{latent.factor}H", f"{latent.factor}W")
    words: Shape = ("N", *widths["words"])
    cond: dict[str, Shape] = {} if manifest.prompt is None else {"cond": words}
    ids: Shape = ("N", 1 if manifest.prompt is None else manifest.prompt.length)
    side = manifest.tagger.side if manifest.tagger else 1
    square: Shape = ("N", 3, side, side)
    logits: Shape = ("N", *widths["logits"][:1])
    match role:
        case "encode":
            return {"lq": image, "noise": state}, {"state": state}
        case "denoise":
            return {"state": state, **cond}, {"pred": state}
        case "decode":
            return {"state": state}, {"hq": image}
        case "text":
            return {"ids": ids}, {"cond": words}
        case "tag":
            return {"image": square}, {"logits": logits}
        case _:
            return {}, {}


def _shown(shapes: dict[str, Shape]) -> str:
    return ", ".join(f"{name} [{', '.join(map(str, shape))}]" for name, shape in shapes.items()) or "none"
