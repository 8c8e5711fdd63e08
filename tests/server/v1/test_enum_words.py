"""Words and numbers of enums, both ways; numbers that are newer are refused."""

from __future__ import annotations

from typing import Any

import pytest

from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.server.v1.enum_words import number_of, word_of
from lqhq.server.v2.errors import RequestError

ENUMS = (pb.ImageFormat, pb.Blend, pb.Rules, pb.Prior, pb.ColorFix, pb.Part)


@pytest.mark.parametrize("enum", ENUMS)
def test_round_trip(enum: Any) -> None:
    for number in enum.values():
        assert number_of(enum, word_of(enum, number, "x") or "") == number


def test_words() -> None:
    assert [word_of(pb.ColorFix, number, "x") for number in range(4)] == [None, "none", "wavelet", "adain"]


@pytest.mark.parametrize("number", [3, -1, 2**31 - 1])
def test_a_newer_value_is_refused(number: int) -> None:
    with pytest.raises(RequestError, match=f"options.blend: found the value {number}"):
        word_of(pb.Blend, number, "options.blend")


def test_planted_word_is_seen() -> None:
    with pytest.raises(ValueError, match="BLEND_NEVER"):
        number_of(pb.Blend, "never")
