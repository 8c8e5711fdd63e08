"""The page says what was measured, above all where a build failed or is not what was planned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import rtx_builds
from contenders.built_case import BuiltCase
from contenders.engine_cases import CASES
from contenders.traced_case import TracedCase

from lqhq.runtime.manifest import Graph, Memory, Tensor
from lqhq.runtime.precision import Plan
from lqhq.runtime.profiles import describe, parse_profile

PLAN = Plan(
    islands=("norm",),
    weights={"float16": 2_000_000, "float32": 40},
    layers={"convolution": {"float16": 7}, "matmul": {"float16": 3, "float32": 1}},
)
NOTES = ("as planned", "read from the builder's list: 5 gemm float16, 2 kgen float32", "warning: a | b")


def _measured(**changed: Any) -> rtx_builds.Measured:
    value = Tensor(dtype="float32", shape=("N", 3, "H", "W"))
    graph = Graph(
        file="decode.fp16.onnx",
        inputs={"state": value},
        outputs={"hq": value},
        memory=Memory(fixed=1, per_pixel=0),
        plan=PLAN,
    )
    traced = TracedCase(
        role="decode",
        precision="fp16",
        graph=graph,
        digest="0" * 64,
        parameters=1_000_010,
        file_bytes=2_100_000,
        seconds=12.4,
        peak=3_200_000_000,
    )
    built = BuiltCase(
        parsed=PLAN, state="verified", notes=NOTES, seconds=61.6, engine_bytes=5_000_000, peak=4_000_000_000
    )
    return rtx_builds.Measured(CASES["vae-decoder"], traced, msgspec.structs.replace(built, **changed))


def test_a_build_is_told() -> None:
    row = rtx_builds.build_row(_measured())
    assert row == ("SD 2.1 VAE decoder, fp16", "64x64@1, 32-64x32-64@1", "62", "4.0", "2", "5", "verified", "equal")
    assert len(row) == len(rtx_builds.BUILDS)
    assert rtx_builds.listed(_measured())[1:] == ("5 gemm float16, 2 kgen float32", "a / b")
    assert rtx_builds.export_row(_measured())[1:] == ("1.00", "12", "3.2", 1)


@pytest.mark.parametrize(
    ("parsed", "said"),
    [
        ({"layers": {"convolution": {"float16": 7}, "matmul": {"float16": 4}}}, "4 matmul float16 for 3"),
        ({"layers": PLAN.layers | {"attention": {"float32": 1}}}, "1 attention float32 for 0"),
        ({"weights": {"float16": 1_999_000, "float32": 2_040}}, "+2000 bytes of float32 weights"),
    ],
)
def test_what_is_not_planned_is_named(parsed: dict[str, Any], said: str) -> None:
    """The planted fault, one layer or weight in single precision, is on the page."""
    measured = _measured(parsed=msgspec.structs.replace(PLAN, **parsed))
    assert said in str(rtx_builds.build_row(measured)[-1])


def test_the_histogram_counts_every_layer_of_every_network() -> None:
    columns, rows = rtx_builds.histogram([_measured(), _measured(parsed=None, failure="no")])
    assert columns == (
        "network",
        "convolution float16",
        "matmul float16",
        "matmul float32",
        "float32 weights MB",
        "float16 weights MB",
    )
    assert rows == [("SD 2.1 VAE decoder, fp16", 7, 3, 1, "0.000", "2.000")]


@pytest.mark.parametrize(
    ("changed", "met"),
    [({}, True), ({"peak": 16_100_000_000}, False), ({"failure": "no kernel", "parsed": None}, False)],
)
def test_the_bar(changed: dict[str, Any], met: bool) -> None:
    measured = _measured(**changed)
    assert rtx_builds.verdict([_measured(), measured]).count(": met.") == met
    row = rtx_builds.build_row(measured)
    assert len(row) == len(rtx_builds.BUILDS)
    assert ("failed: no kernel" in row) == ("failure" in changed)


def test_a_child_that_fails_gives_its_words() -> None:
    words = rtx_builds._child("contenders.no_such", "case", Path("folder"))
    assert words.startswith("exit code 1")
    assert "no_such" in words


def test_profiles_are_read_as_they_are_shown() -> None:
    for case in CASES.values():
        assert [describe(parse_profile(text)) for text in case.profiles] == [
            text if "@" in text else f"{text}@1" for text in case.profiles
        ]
