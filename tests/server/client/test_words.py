"""Enum values as words, and back."""

from __future__ import annotations

from typing import Any

import pytest

from lqhq.runtime.errors import OptionError
from lqhq.server.client.words import number_of, word_of, words_of
from lqhq.server.protos import lqhq_v1_pb2 as pb

ENUMS = [pb.Blend, pb.Rules, pb.Prior, pb.ColorFix, pb.ImageFormat, pb.ModelState, pb.Part]


def test_words() -> None:
    assert words_of(pb.Blend) == ("each", "final")
    assert words_of(pb.ColorFix) == ("none", "wavelet", "adain")
    assert words_of(pb.ImageFormat) == ("png", "jpeg", "webp", "tiff")


@pytest.mark.parametrize("enum", ENUMS, ids=lambda enum: enum.DESCRIPTOR.name)
def test_there_and_back(enum: Any) -> None:
    assert len(words_of(enum)) == len(enum.values()) - 1
    for word in words_of(enum):
        assert word_of(enum, number_of(enum, "x", word)) == word


def test_nothing_said_and_too_new() -> None:
    assert number_of(pb.Blend, "blend", None) == 0
    assert word_of(pb.Blend, 0) == ""
    assert word_of(pb.Blend, 99) == ""
    for wrong in ("EACH", "unspecified", ""):
        with pytest.raises(OptionError, match=r"blend: found .*expected 'each' or 'final'"):
            number_of(pb.Blend, "blend", wrong)
