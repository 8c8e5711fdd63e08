"""Which batch sizes a role may be called in."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lqhq.runtime.profiles import parse_profile
from lqhq.server.batching.batch_key import BatchKey, Model
from lqhq.server.models.batch_sizes import BatchSizes

MODEL = Model("tiny", "1.1", "fp32", "onnx")
PIXELS: Any = SimpleNamespace(latent=None)
LATENT: Any = SimpleNamespace(latent=object())


def key(role: str = "denoise", side: int = 64) -> BatchKey:
    return BatchKey(MODEL, role, side, side)


@pytest.mark.parametrize(("most", "sizes"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))])
def test_powers_of_two_and_the_largest(most, sizes):
    rule = BatchSizes(most)
    rule.add(MODEL, PIXELS, {})
    assert rule(key()) == sizes


@pytest.mark.parametrize("role", ["encode", "decode", "decode/03", "text", "tag"])
def test_of_latent_models_denoise_alone_is_batched(role):
    rule = BatchSizes(4)
    rule.add(MODEL, LATENT, {})
    assert rule(key(role)) == (1,)
    assert rule(key("denoise")) == (1, 2, 4)


def test_no_more_than_an_engine_takes():
    rule = BatchSizes(8)
    profiles = [parse_profile("64x64@1-4"), parse_profile("128x128@1")]
    rule.add(MODEL, PIXELS, {"denoise": profiles, "encode": [parse_profile("1x1@2-8")]})
    assert rule(key(side=64)) == (1, 2, 4)
    assert rule(key(side=128)) == (1,)
    assert rule(key(side=256)) == (1,)  # nothing fits: the engine will say so
    assert rule(key("encode", 0)) == (2, 4, 8)
    assert rule(key("decode")) == (1, 2, 4, 8)


def test_models_that_are_not_there_are_called_one_by_one():
    rule = BatchSizes(4)
    assert rule(key()) == (1,)
    rule.add(MODEL, PIXELS, {})
    rule.forget(MODEL)
    assert rule(key()) == (1,)


def test_no_batch_is_no_size():
    with pytest.raises(ValueError, match="at least 1"):
        BatchSizes(0)
