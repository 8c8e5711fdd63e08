"""The contract of lqhq.v1 keeps its own rules: documented, extensible, and in step with the options of `restore`."""

from __future__ import annotations

import inspect
import re
from itertools import pairwise
from pathlib import Path

import pytest

from lqhq.runtime.restorer import Restorer
from lqhq.server.protos import lqhq_v1_pb2 as v1

PROTO = Path(v1.__file__).with_name("lqhq_v1.proto")
FIELD = re.compile(r"\s+(?!reserved|return|rpc)(?:optional |repeated )?(?:[\w<>, .]+ )?(\w+) = \d+;")


def undocumented(text: str) -> list[str]:
    """Fields and values without a comment before or beside them."""
    lines = ["", *text.splitlines()]
    found = []
    for above, line in pairwise(lines):
        field = FIELD.match(line)
        if field and "  // " not in line and not above.strip().startswith("//"):
            found.append(field[1])
    return found


def test_every_field_is_documented() -> None:
    text = PROTO.read_text()
    assert undocumented(text) == []
    declared = [len(message.fields) for message in v1.DESCRIPTOR.message_types_by_name.values()]
    declared += [len(enum.values) for enum in v1.DESCRIPTOR.enum_types_by_name.values()]
    assert len(FIELD.findall(text)) == sum(declared)  # none escapes the pattern


def test_planted_bare_field_is_seen() -> None:
    assert undocumented("message M {\n  string a = 1;\n  // what it is\n  string b = 2;\n}") == ["a"]


@pytest.mark.parametrize("name", sorted(v1.DESCRIPTOR.enum_types_by_name))
def test_enums_begin_unspecified(name: str) -> None:
    prefix = re.sub("(?<!^)(?=[A-Z])", "_", name).upper()
    values = v1.DESCRIPTOR.enum_types_by_name[name].values
    assert (values[0].name, values[0].number) == (f"{prefix}_UNSPECIFIED", 0)
    assert all(value.name.startswith(f"{prefix}_") for value in values)


def test_options_are_those_of_restore() -> None:
    """Budget and scratch are the server's, noise and callbacks are for programs, and strength is read by no release."""
    taken = set(inspect.signature(Restorer.restore).parameters)
    here = {field.name for field in v1.Options.DESCRIPTOR.fields} | {"mask"}
    assert here == taken - {"self", "image", "noise", "memory", "scratch", "progress", "cancel", "strength"}
    assert {field.name for field in v1.RestoreRequest.DESCRIPTOR.fields} == {"ask", "image", "mask"}


def test_choices_are_those_of_the_runtime() -> None:
    def words(name: str, prefix: str) -> set[str]:
        return {value.removeprefix(prefix).lower() for value in v1.DESCRIPTOR.enum_types_by_name[name].values_by_name}

    assert words("Blend", "BLEND_") == {"unspecified", "each", "final"}
    assert words("Rules", "RULES_") == {"unspecified", "default", "original"}
    assert words("Prior", "PRIOR_") == {"unspecified", "image", "tile"}
    assert words("ColorFix", "COLOR_FIX_") == {"unspecified", "none", "wavelet", "adain"}


def test_an_event_that_is_newer_is_no_error() -> None:
    """Field 90 of an event is none that we know: the message is read, and says that it is nothing known."""
    event = v1.RestoreEvent.FromString(b"\xd2\x05\x00")
    assert event.WhichOneof("message") is None


def test_absent_is_told_from_zero_where_it_matters() -> None:
    assert not v1.Options().HasField("overlap")
    assert v1.Options.FromString(v1.Options(overlap=0).SerializeToString()).HasField("overlap")
    assert not v1.Options().HasField("prompt")
