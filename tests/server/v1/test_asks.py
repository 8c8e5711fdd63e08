"""Every field of an ask reaches the restoration, and none that is wrong does."""

from __future__ import annotations

from typing import Any

import pytest

from lqhq.runtime.errors import LqhqError
from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.server.restoring.ask import Ask
from lqhq.server.v1.asks import request_id, restoration_ask
from lqhq.server.v2.options import Delivery, Options, Urgency


def asked(wanted: pb.Ask, **given: Any) -> Ask:
    return restoration_ask(wanted, "i", image=b"image", mask=None, deadline_s=None, **given)


def test_defaults() -> None:
    assert asked(pb.Ask()) == Ask(
        id="i",
        model="",
        version=0,
        image=b"image",
        mask=None,
        options=Options(),
        delivery=Delivery(format="png"),
        urgency=Urgency(),
    )


def test_every_field() -> None:
    wanted = pb.Ask(
        request_id="r",
        model=pb.ModelRef(name="m", version=4),
        options=pb.Options(
            schedule="",
            seed=2**64 - 1,
            prompt="",
            tagger=True,
            color_fix=pb.COLOR_FIX_NONE,
            rules=pb.RULES_ORIGINAL,
            prior=pb.PRIOR_TILE,
            tile=2**31 - 1,
            overlap=0,
            blend=pb.BLEND_EACH,
        ),
        output=pb.Output(format=pb.IMAGE_FORMAT_WEBP, quality=7, bit_depth=8),
        priority=2,
    )
    # Each field of the messages is set above, so that a new one cannot be forgotten here.
    for message in (wanted, wanted.model, wanted.options, wanted.output):
        assert {field.name for field, _ in message.ListFields()} == set(message.DESCRIPTOR.fields_by_name)
    ask = restoration_ask(wanted, "r", image=b"i", mask=b"m", deadline_s=3.0, progress=True, tiles=True)
    assert (ask.model, ask.version, ask.mask, ask.deadline_s, ask.progress, ask.tiles) == (
        "m",
        4,
        b"m",
        3.0,
        True,
        True,
    )
    assert ask.options == Options(
        schedule="",
        seed=2**64 - 1,
        tile=2**31 - 1,
        overlap=0,
        blend="each",
        prior="tile",
        color_fix="none",
        rules="original",
        prompt="",
        tagger=True,
    )
    assert (ask.delivery, ask.urgency) == (Delivery(format="webp", quality=7, bit_depth=8), Urgency(priority=2))


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (pb.Ask(options=pb.Options(tile=2**31)), "tile: found 2147483648"),
        (pb.Ask(options=pb.Options(overlap=2**31)), "overlap: found 2147483648"),
        (pb.Ask(options=pb.Options(prompt="é" * 2049)), "options.prompt: found 4098 bytes"),
        (pb.Ask(options=pb.Options(schedule="s" * 257)), "options.schedule: found 257 characters"),
        (pb.Ask(options=pb.Options(blend=9)), "options.blend: found the value 9"),
        (pb.Ask(options=pb.Options(rules=9)), "options.rules: found the value 9"),
        (pb.Ask(options=pb.Options(prior=9)), "options.prior: found the value 9"),
        (pb.Ask(options=pb.Options(color_fix=9)), "options.color_fix: found the value 9"),
        (pb.Ask(model=pb.ModelRef(name="m" * 257)), "model.name: found 257 characters"),
        (pb.Ask(output=pb.Output(format=9)), "output.format: found the value 9"),
        (pb.Ask(output=pb.Output(quality=101)), "output.quality: found 101"),
        (pb.Ask(output=pb.Output(bit_depth=12)), "output.bit_depth: found 12; expected 0, 8 or 16"),
        (pb.Ask(output=pb.Output(format=pb.IMAGE_FORMAT_JPEG, bit_depth=16)), "expected 0 or 8 for JPEG"),
        (pb.Ask(output=pb.Output(format=pb.IMAGE_FORMAT_WEBP, bit_depth=16)), "expected 0 or 8 for WEBP"),
    ],
)
def test_what_is_wrong_is_told(wanted: pb.Ask, told: str) -> None:
    with pytest.raises(LqhqError) as caught:
        asked(wanted)
    assert told in str(caught.value)


def test_ids() -> None:
    assert request_id(pb.Ask(request_id="A-z_0.9:")) == "A-z_0.9:"
    made = {request_id(pb.Ask()) for _ in range(100)}
    assert len(made) == 100
    for id in made:
        assert request_id(pb.Ask(request_id=id)) == id


@pytest.mark.parametrize("id", ["a b", "a\n", "é", "a" * 129, "\x1b[2J"])
def test_ids_that_could_not_stand_in_a_log(id: str) -> None:
    with pytest.raises(LqhqError, match="request_id"):
        request_id(pb.Ask(request_id=id))
