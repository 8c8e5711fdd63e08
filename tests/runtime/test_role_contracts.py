"""The contract of every role: what a graph takes and gives, checked when the bundle is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.errors import BundleError
from lqhq.runtime.manifest import Manifest, Tensor
from lqhq.runtime.role_contracts import check_contract

Build = Callable[..., Path]


def checked(manifest: Manifest, role: Any, **sides: Any) -> None:
    """Check every role, with some tensors of `role` exchanged."""
    graph = manifest.graphs[role]["fp32"]
    changed = msgspec.structs.replace(graph, **{side: dict(getattr(graph, side)) | new for side, new in sides.items()})
    graphs = {**manifest.graphs, role: {"fp32": changed}}
    manifest = msgspec.structs.replace(manifest, graphs=graphs)
    for name, variants in manifest.graphs.items():
        check_contract(manifest, name, "fp32", variants["fp32"])


def vector(*shape: Any) -> Tensor:
    return Tensor(dtype="float32", shape=shape, per="image")


@pytest.mark.parametrize("options", [{}, {"masked": True}, {"growth": 2}])
def test_what_fits_passes(guided_bundle: Build, tiny_bundle: Build, options: dict[str, Any]) -> None:
    checked(open_bundle(guided_bundle(**options)).manifest, "decode")
    checked(open_bundle(tiny_bundle()).manifest, "denoise")


@pytest.mark.parametrize(
    ("role", "sides", "message"),
    [
        (
            "reduce",
            {"inputs": {"lq": vector("N", 4, "H", "W")}},
            r"reduce\.fp32: found inputs lq \[N, 4, H, W\]",
        ),
        ("reduce", {"inputs": {"mask": vector("N", 3, "H", "W")}}, r"mask \[N, 1, H, W\]"),
        ("reduce", {"outputs": {"count": vector("N", 3)}}, r"expected .* count \[N, 1\]"),
        ("reduce", {"outputs": {"sums": vector("N", 5)}}, r"graphs\.encode\.fp32: .*expected inputs pooled \[N, 5\]"),
        ("encode", {"inputs": {"noise": vector("N", "H")}}, r"noise \[N, 1\]"),
        ("encode", {"outputs": {"cond": vector("N", 9)}}, r"graphs\.decode\.fp32: .*cond \[N, 9\]"),
        ("encode", {"outputs": {"other": vector("N", 3)}}, r"other \[N, 3\]"),
        ("decode", {"outputs": {"hq": vector("N", 3, "H", "W")}}, r"expected .* hq \[N, 3, 2H, 2W\]"),
        ("decode", {"outputs": {"hq": vector("N", 3, "4H", "4W")}}, r"expected .* hq \[N, 3, 2H, 2W\]"),
    ],
)
def test_what_does_not_fit_is_refused(guided_bundle: Build, role: str, sides: dict[str, Any], message: str) -> None:
    manifest = open_bundle(guided_bundle(growth=2)).manifest
    with pytest.raises(BundleError, match=message):
        checked(manifest, role, **sides)
