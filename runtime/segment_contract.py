"""What the graph of each segment takes and gives, as the segments of its role say; checked like the graphs of roles."""

from __future__ import annotations

from lqhq.runtime.latent_spec import Segment
from lqhq.runtime.manifest import Graph, Manifest, Memory, Role, Tensor

__all__ = ["segment_graphs"]

# Strips are small, and what they take is planned strip by strip (`segment_plan.py`), not by a line over pixels.
UNMEASURED = Memory(fixed=1, per_pixel=0.0)


def segment_graphs(manifest: Manifest, role: Role) -> list[Graph]:
    """A graph for each segment of `role`. Letters of axes say only that they are free: strips are of any height."""
    assert manifest.latent is not None  # segments without a latent were refused
    latent = manifest.latent.channels
    planes = {"input": 3 if role == "encode" else latent, "noise": latent}
    graphs = []
    for segment in manifest.segments[role]:
        skip = {"skip": planes[segment.skip]} if segment.skip else {}
        graphs.append(_attention(segment, skip) if segment.kind == "attention" else _rows(segment, planes, skip))
        planes[segment.y] = segment.channels
    return graphs


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
