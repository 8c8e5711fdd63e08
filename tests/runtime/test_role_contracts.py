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


# Latent models


@pytest.mark.parametrize("options", [{}, {"factor": 8}, {"worded": True}, {"worded": True, "tagged": True}])
def test_latent_roles_that_fit_pass(latent_bundle: Build, options: dict[str, Any]) -> None:
    checked(open_bundle(latent_bundle(**options)).manifest, "decode")


def ids(*shape: Any) -> Tensor:
    return Tensor(dtype="int64", shape=shape, per="image")


@pytest.mark.parametrize(
    ("role", "sides", "message"),
    [
        (
            "encode",
            {"inputs": {"lq": vector("N", 3, "H", "W")}},
            r"encode\.fp32: .*expected inputs lq \[N, 3, 8H, 8W\]",
        ),
        ("encode", {"inputs": {"lq": vector("N", 4, "8H", "8W")}}, r"expected inputs lq \[N, 3, 8H, 8W\]"),
        ("encode", {"inputs": {"noise": vector("N", 8, "H", "W")}}, r"expected .* noise \[N, 4, H, W\]"),
        ("encode", {"outputs": {"state": vector("N", 4, "8H", "8W")}}, r"outputs state \[N, 4, H, W\]"),
        ("encode", {"outputs": {"cond": vector("N", 4)}}, r"found .* cond \[N, 4\]"),
        ("denoise", {"inputs": {"t": vector("N")}}, r"denoise\.fp32: found .* t \[N\]"),
        ("denoise", {"inputs": {"cond": vector("N", 77, 5)}}, r"graphs\.text\.fp32: .*expected .* cond \[N, 77, 5\]"),
        ("denoise", {"inputs": {"cond": vector("N", "H", 4)}}, r"expected .* cond \[N, 1, 4\]"),
        ("denoise", {"outputs": {"var": vector("N", 4, "H", "W")}}, r"found .* var \[N, 4, H, W\]"),
        ("decode", {"inputs": {"lq": vector("N", 3, "8H", "8W")}}, r"decode\.fp32: found inputs .*lq"),
        ("decode", {"outputs": {"hq": vector("N", 3, "4H", "4W")}}, r"expected .* hq \[N, 3, 8H, 8W\]"),
        ("text", {"inputs": {"ids": ids("N", 76)}}, r"text\.fp32: .*expected inputs ids \[N, 77\]"),
        ("text", {"inputs": {"mask": ids("N", 77)}}, r"text\.fp32: found inputs .*mask \[N, 77\]"),
        ("tag", {"inputs": {"image": vector("N", 3, 8, 8)}}, r"tag\.fp32: .*expected inputs image \[N, 3, 6, 6\]"),
        ("tag", {"inputs": {"image": vector("N", 3, "H", "W")}}, r"expected inputs image \[N, 3, 6, 6\]"),
        ("tag", {"outputs": {"logits": vector("N", "H")}}, r"expected .* logits \[N, 1\]"),
    ],
)
def test_latent_roles_that_do_not_fit_are_refused(
    latent_bundle: Build, role: str, sides: dict[str, Any], message: str
) -> None:
    manifest = open_bundle(latent_bundle(factor=8, worded=True, tagged=True)).manifest
    with pytest.raises(BundleError, match=message):
        checked(manifest, role, **sides)


def test_a_baked_network_takes_no_condition(latent_bundle: Build) -> None:
    """The planted fault of bundles without words."""
    with pytest.raises(BundleError, match=r"denoise\.fp32: found .*cond \[N, 77, 4\]"):
        checked(open_bundle(latent_bundle()).manifest, "denoise", inputs={"cond": vector("N", 77, 4)})
