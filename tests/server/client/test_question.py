"""Requests as lqhq.v1 wants them, and what is refused before anything is sent."""

from __future__ import annotations

import hashlib
from typing import Any, get_type_hints

import pytest

from lqhq.runtime.errors import ImageError, OptionError
from lqhq.server.client.question import CHUNK_BYTES, DEFAULTS, UNARY_BYTES, Asking, Question, question
from lqhq.server.protos import lqhq_v1_pb2 as pb


def asked(image: bytes = b"file", *, progress: bool = False, tiles: bool = False, **more: Any) -> Question:
    return question(image, progress=progress, tiles=tiles, **more)


def test_the_names_are_those_that_callers_see() -> None:
    names = set(get_type_hints(Asking))
    assert set(DEFAULTS) == names
    assert {field.name for field in pb.Options.DESCRIPTOR.fields} <= names
    with pytest.raises(TypeError, match="no argument 'strength'"):
        asked(strength=1)


def test_defaults_say_nothing() -> None:
    ask = asked().ask
    assert ask.options == pb.Options()
    assert ask.model == pb.ModelRef()
    assert ask.output == pb.Output(format=pb.IMAGE_FORMAT_PNG)
    assert (ask.priority, ask.request_id) == (0, "")


def test_every_option_arrives() -> None:
    ask = asked(
        model="m", version=3, schedule="s", seed=2**64 - 1, tile=64, overlap=0, blend="final", prior="tile",
        color_fix="adain", rules="original", prompt="", tagger=True, output="webp", quality=7, bit_depth=8,
        priority=3, request_id="mine",
    ).ask  # fmt: skip
    assert ask.options == pb.Options(
        schedule="s", seed=2**64 - 1, tile=64, overlap=0, blend=pb.BLEND_FINAL, prior=pb.PRIOR_TILE,
        color_fix=pb.COLOR_FIX_ADAIN, rules=pb.RULES_ORIGINAL, prompt="", tagger=True,
    )  # fmt: skip
    assert ask.options.HasField("overlap")
    assert ask.options.HasField("prompt")
    assert ask.model == pb.ModelRef(name="m", version=3)
    assert ask.output == pb.Output(format=pb.IMAGE_FORMAT_WEBP, quality=7, bit_depth=8)
    assert (ask.priority, ask.request_id) == (3, "mine")
    assert asked(tile="auto").ask.options.tile == 0


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("seed", -1), ("seed", 2**64), ("seed", 1.5), ("seed", True), ("tile", 0), ("tile", "big"), ("overlap", -1),
        ("overlap", 2**31), ("priority", -1), ("priority", 2**32), ("version", -1), ("quality", 0), ("quality", 101),
        ("bit_depth", 12), ("output", "gif"), ("output", None), ("blend", "soft"), ("color_fix", ""),
    ],
)  # fmt: skip
def test_what_no_message_carries(option: str, value: object) -> None:
    if option == "output" and value is None:
        assert asked(output=None).ask.output.format == 0
        return
    with pytest.raises(OptionError, match=f"{option}: found"):
        asked(**{option: value})


def test_small_and_unheard_goes_in_one_message() -> None:
    assert asked(b"x" * UNARY_BYTES).small
    assert not asked(b"x" * UNARY_BYTES, mask=b"y").small
    assert not asked(progress=True).small
    assert not asked(tiles=True).small
    request = asked(b"file", mask=b"mask").request()
    assert (request.image, request.mask) == (b"file", b"mask")


@pytest.mark.parametrize("size", [1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
@pytest.mark.parametrize("mask", [b"", b"mask" * 300_000])
def test_uploads(size: int, mask: bytes) -> None:
    image = bytes(size)
    header, *chunks, end = asked(image, mask=mask or None, progress=True).uploads()
    assert header.header.image_bytes == size
    assert header.header.mask_bytes == len(mask)
    assert (header.header.progress, header.header.tiles) == (True, False)
    parts = {pb.PART_IMAGE: b"", pb.PART_MASK: b""}
    for one in chunks:
        assert one.chunk.offset == len(parts[one.chunk.part])
        assert 0 < len(one.chunk.data) <= 2097152  # the contract's longest
        parts[one.chunk.part] += one.chunk.data
    assert parts == {pb.PART_IMAGE: image, pb.PART_MASK: mask}
    assert end.end.image_sha256 == hashlib.sha256(image).hexdigest()
    assert end.end.mask_sha256 == (hashlib.sha256(mask).hexdigest() if mask else "")


def test_uploads_can_be_sent_again() -> None:
    one = asked(b"file" * 100_000)
    assert list(one.uploads()) == list(one.uploads())


def test_an_empty_image_is_no_image() -> None:
    with pytest.raises(ImageError, match="image: found nothing"):
        asked(b"")
    with pytest.raises(ImageError, match="mask: found nothing"):
        asked(mask=b"")
