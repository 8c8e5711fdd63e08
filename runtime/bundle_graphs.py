"""Checks that each ONNX file of a bundle is what the manifest says, and asks for no other file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from lqhq.runtime.bundle_files import is_inside
from lqhq.runtime.errors import BundleError
from lqhq.runtime.manifest import Graph, Manifest, Tensor
from lqhq.runtime.onnx_file import GraphValue, OnnxFile, read_onnx
from lqhq.runtime.role_contracts import AGAIN, check_contract
from lqhq.runtime.segment_contract import segment_graphs

__all__ = ["check_graphs"]

# Standard operators only. An engine's own domain would tie a bundle to that engine, and some of its operators
# open files by name (com.microsoft's EPContext does), past every check of external data here.
DOMAINS = {"", "ai.onnx"}
MAX_FIXED_ELEMENTS = 1 << 30  # of one input or output with N = H = W = 1: 4 GiB of float32


def check_graphs(folder: Path, manifest: Manifest) -> None:
    """Compare every graph's file with its entry in the manifest. Raises `BundleError` where they differ."""
    for role, variants in manifest.graphs.items():
        for precision, graph in variants.items():
            check_contract(manifest, role, precision, graph)
            _check_graph(folder, manifest, f"graphs.{role}.{precision}", graph)
    for role in manifest.segments:
        for index, graph in enumerate(segment_graphs(manifest, role)):
            _check_graph(folder, manifest, f"segments.{role}[{index}]", graph)


def _check_graph(folder: Path, manifest: Manifest, where: str, graph: Graph) -> None:
    _check_size(f"{where}.inputs", graph.inputs)
    _check_size(f"{where}.outputs", graph.outputs)
    found = read_onnx(folder / graph.file, graph.file)
    _check_domains(where, found)
    _check_values(f"{where}.inputs", graph.inputs, found.inputs)
    _check_values(f"{where}.outputs", graph.outputs, found.outputs)
    _check_external(where, graph, found, manifest)
    _check_plan(where, graph, found)


def _check_plan(where: str, graph: Graph, found: OnnxFile) -> None:
    """The file holds the floating-point constants that its plan counted: a float32 graph cannot pass as a half one."""
    if graph.plan is not None and found.weights != graph.plan.weights:
        raise BundleError(
            f"{where}.plan.weights",
            found=f"{found.weights} bytes in the file",
            expected=f"{graph.plan.weights}, as the plan says",
            mend=AGAIN,
        )


def _check_size(where: str, declared: Mapping[str, Tensor]) -> None:
    for name, tensor in declared.items():
        elements = math.prod(axis for axis in tensor.shape if isinstance(axis, int))
        if elements > MAX_FIXED_ELEMENTS:
            raise BundleError(
                f"{where}.{name}",
                found=f"shape {list(tensor.shape)}: {elements} elements",
                expected=f"at most {MAX_FIXED_ELEMENTS} before N, H and W",
                mend="Do not use this bundle: no machine could run it.",
            )


def _check_domains(where: str, found: OnnxFile) -> None:
    foreign = sorted(found.domains - DOMAINS)
    if foreign:
        raise BundleError(
            where,
            found=f"operators of {', '.join(foreign)}",
            expected="standard ONNX operators only",
            mend="Export again without operators of one engine; engines fuse on their own when they open it.",
        )


def _check_values(where: str, declared: Mapping[str, Tensor], found: Mapping[str, GraphValue]) -> None:
    if declared.keys() != found.keys():
        raise BundleError(where, found=f"{sorted(found)} in the file", expected=f"{sorted(declared)}", mend=AGAIN)
    for name, tensor in declared.items():
        value = found[name]
        if value.dtype != tensor.dtype or not _fits(tensor, value):
            raise BundleError(
                f"{where}.{name}",
                found=f"{value.dtype} {_shown(value.shape)} in the file",
                expected=f"{tensor.dtype} {_shown(tensor.shape)}, letters free and numbers fixed",
                mend=AGAIN,
            )


def _fits(tensor: Tensor, value: GraphValue) -> bool:
    """Numbers must be equal; where the manifest has a letter the file must leave the axis free."""
    if value.shape is None or len(value.shape) != len(tensor.shape):
        return False
    return all(
        have == want if isinstance(want, int) else not isinstance(have, int)
        for want, have in zip(tensor.shape, value.shape, strict=True)
    )


def _shown(shape: tuple[int | str | None, ...] | None) -> str:
    return "of unknown rank" if shape is None else f"[{', '.join(str(axis) for axis in shape)}]"


def _check_external(where: str, graph: Graph, found: OnnxFile, manifest: Manifest) -> None:
    """External data is exactly what the manifest lists, inside the folder, and long enough."""
    home = PurePosixPath(graph.file).parent
    wanted = {}
    for location, end in found.external.items():
        if not is_inside(location):
            raise BundleError(
                where,
                found=f"external data at {location[:200]!r}",
                expected="a relative path inside the bundle, without '..'",
                mend="Do not use this bundle: it reaches for files that are not its own.",
            )
        wanted[str(home / location)] = end
    if set(wanted) != set(graph.external_data):
        raise BundleError(
            f"{where}.external_data",
            found=f"{sorted(wanted)} asked for by the graph",
            expected=f"{sorted(graph.external_data)}",
            mend=AGAIN,
        )
    for name, end in wanted.items():
        size = manifest.files[name].bytes
        if end > size:
            raise BundleError(
                f"{where}.external_data",
                found=f"bytes up to {end} of {name!r} asked for",
                expected=f"at most its {size} bytes",
                mend=AGAIN,
            )
