"""What the graph of each segment takes and gives, as the segments of its role say; checked like the graphs of roles."""

from __future__ import annotations

from fractions import Fraction

from lqhq.runtime.errors import BundleError
from lqhq.runtime.latent_spec import Segment
from lqhq.runtime.manifest import Graph, Manifest, Memory, Role, Tensor

__all__ = ["segment_graphs"]

# Strips are small, and what they take is planned strip by strip (`segment_plan.py`), not by a line over pixels.
UNMEASURED = Memory(fixed=1, per_pixel=0.0)


def segment_graphs(manifest: Manifest, role: Role) -> list[Graph]:
    """A graph for each segment of `role`. Letters of axes say only that they are free: strips are of any height.

    Raises `BundleError` for segments that cannot be run one after the other, or do not come to what the role gives.
    """
    assert manifest.latent is not None  # segments without a latent were refused
    latent, factor = manifest.latent.channels, manifest.latent.factor
    # Channels of each canvas, and how much larger than the latent canvas it is.
    planes = {"input": 3 if role == "encode" else latent, "noise": latent}
    sides = {"input": Fraction(factor if role == "encode" else 1), "noise": Fraction(1)}
    graphs, normed = [], set[str]()  # statistics of a canvas are taken once
    for index, segment in enumerate(manifest.segments[role]):
        fault = _fault(segment, planes, sides, normed)
        planes[segment.y], sides[segment.y] = segment.channels, sides[segment.x] * segment.up / segment.down
        wanted = (latent, Fraction(1)) if role == "encode" else (3, Fraction(factor))
        if segment.y == "output" and (planes["output"], sides["output"]) != wanted:
            fault = f"an output of {segment.channels} channels, {sides['output']} times the latent's sides"
        if fault:
            raise BundleError(
                f"segments.{role}[{index}]",
                found=fault,
                expected="segments that run one after the other, and come to what the role gives",
                mend="Export the checkpoint again with this release.",
            )
        skip = {"skip": planes[segment.skip]} if segment.skip else {}
        graphs.append(_attention(segment, skip) if segment.kind == "attention" else _rows(segment, planes, skip))
    return graphs


def _fault(segment: Segment, planes: dict[str, int], sides: dict[str, Fraction], normed: set[str]) -> str:
    """What keeps a segment from being run after those before it; "" where nothing does."""
    x, norm = segment.x, segment.norm
    if segment.skip is not None and sides[segment.skip] != sides[x]:
        return f"skip {segment.skip!r} of another size than {x!r}"
    if (sides[x] * segment.up / segment.down).denominator != 1:
        return f"{x!r} halved to less than latents"
    if norm is not None and (x in normed or planes[x] % norm.groups):
        return f"a norm of {norm.groups} groups of {x!r}, of {planes[x]} channels, or normed before"
    normed |= {x} if norm is not None else set()
    if segment.kind == "attention":
        if x in ("input", "noise") or segment.y == "output" or planes[x] != 3 * segment.channels:
            return f"attention over {x!r}, of {planes[x]} channels"
        if segment.skip in ("input", "noise"):
            return f"attention with a skip {segment.skip!r}"
    return ""


def _rows(segment: Segment, planes: dict[str, int], skip: dict[str, int]) -> Graph:
    wide = planes[segment.x]
    inputs = {name: _float("N", channels, "H", "W") for name, channels in {"x": wide, **skip}.items()}
    inputs |= {name: _float("N", wide) for name in ("mean", "rstd") if segment.norm is not None}
    high, long = (f"{segment.up}{axis}" if segment.up > 1 else axis for axis in "HW")
    return _graph(segment, inputs, _float("N", segment.channels, high, long))


def _attention(segment: Segment, skip: dict[str, int]) -> Graph:
    inputs = {name: _float("N", segment.channels, "H") for name in ("q", "k", "v")}
    inputs |= {name: _float("N", channels, "H") for name, channels in skip.items()}
    return _graph(segment, inputs, _float("N", segment.channels, "H"))


def _graph(segment: Segment, inputs: dict[str, Tensor], y: Tensor) -> Graph:
    return Graph(
        file=segment.file,
        external_data=segment.external_data,
        inputs=inputs,
        outputs={"y": y},
        memory=UNMEASURED,
    )


def _float(*shape: int | str) -> Tensor:
    return Tensor(dtype="float32", shape=shape)
