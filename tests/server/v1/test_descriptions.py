"""What is told of models: every field of the message, from a real manifest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest

from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.schedule import Row, Schedule, Start
from lqhq.server.batching.batch_key import Model
from lqhq.server.config.serve_config import ServeConfig
from lqhq.server.models.entry import Entry, State
from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.server.v1.descriptions import STATES, limits_of, model_of, summary_of

ENTRY = Entry(name="m", version=2, state="READY", reason="r", task="restoration", scale=1)
LIMITS = limits_of(ServeConfig(bundles=("demo",), max_pixels=7, max_result_pixels=8))


def described(bundle: Path, *, checked: Any = None) -> pb.Model:
    served: Any = SimpleNamespace(
        bundle=open_bundle(bundle),
        key=Model("m", "2.1", "fp32", "onnx"),
        opened=SimpleNamespace(engine_version="1.2", precision="fp32", device="cpu", checked=checked),
        sha256="ab" * 32,
        verified=True,
    )
    return model_of(ENTRY, served, LIMITS)


def test_summaries() -> None:
    summary = summary_of(ENTRY)
    assert {field.name for field, _ in summary.ListFields()} == set(summary.DESCRIPTOR.fields_by_name)
    assert (summary.state, summary.reason) == (pb.MODEL_STATE_READY, "r")
    assert set(STATES) == set(get_args(State))


def test_limits() -> None:
    assert {field.name for field, _ in LIMITS.ListFields()} == set(LIMITS.DESCRIPTOR.fields_by_name)
    assert (LIMITS.max_pixels, LIMITS.max_result_pixels, LIMITS.default_priority) == (7, 8, 2)
    assert list(LIMITS.formats) == [1, 2, 3, 4]


def test_a_model(tiny_bundle: Callable[..., Path]) -> None:
    model = described(tiny_bundle(scale=4), checked=SimpleNamespace(passed=True, cases=3, seconds=0.5))
    told = {field.name for field, _ in model.ListFields()}
    assert set(model.DESCRIPTOR.fields_by_name) - told == {"needs_mask", "reads_prompt", "reads_tags", "baked_prompt"}
    assert list(model.options) == ["blend", "color_fix", "overlap", "schedule", "seed", "tile"]
    assert (model.tiles.enlarged, model.tiles.multiple, model.tiles.preferred) == (4, 4, 32)
    assert (model.tiles.overlap, model.tiles.blend, list(model.tiles.deviations)) == (8, 2, ["zero padding: 1 px"])
    assert [(one.name, one.calls, one.noisy, one.default) for one in model.schedules] == [
        ("fast", 1, False, True),
        ("noisy", 3, True, False),
        ("three", 3, False, False),
    ]
    assert model.color_fix == pb.COLOR_FIX_NONE
    assert (model.engine, model.engine_version, model.precision, model.device) == ("onnx", "1.2", "fp32", "cpu")
    assert model.files[0].name == "graphs/denoise.fp32.onnx"
    assert (model.sources[0].name, model.sources[0].bytes) == ("tiny.safetensors", 108)
    assert [(one.part, one.licence) for one in model.licences] == [("base", "CC0-1.0"), ("adapter", "unknown")]
    assert dict(model.made_with) == {"onnx": "1"}
    assert (model.parity[0].what, model.parity[0].psnr_db, model.parity[0].passed) == ("denoise", 120.0, True)
    assert (model.self_check.cases, model.self_check.seconds) == (3, 0.5)


def test_what_was_not_checked_is_absent(tiny_bundle: Callable[..., Path]) -> None:
    assert not described(tiny_bundle()).HasField("self_check")


def test_masks(guided_bundle: Callable[..., Path]) -> None:
    model = described(guided_bundle(masked=True))
    assert model.needs_mask
    assert not model.schedules


@pytest.mark.parametrize(("noise", "sigma", "noisy"), [(0.0, 0.0, False), (0.1, 0.0, True), (0.0, 0.1, True)])
def test_seeds_matter_where_noise_is_drawn(
    tiny_bundle: Callable[..., Path], noise: float, sigma: float, noisy: bool
) -> None:
    rows = (Row(t=1.0, c_state=0.0, c=(1.0,), sigma=sigma),)
    bundle = tiny_bundle(schedules={"fast": Schedule(start=Start(c_noise=noise), rows=rows)})
    assert described(bundle).schedules[0].noisy is noisy
