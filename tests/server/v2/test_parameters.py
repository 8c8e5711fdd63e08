"""Every parameter is of its kind and in its range, or refused; none is unknown."""

from __future__ import annotations

from typing import Any

import pytest

from lqhq.runtime.errors import OptionError
from lqhq.server.protos.inference_pb2 import InferParameter, ModelInferRequest
from lqhq.server.v2 import parameters
from lqhq.server.v2.errors import RequestError, UnsupportedError
from lqhq.server.v2.options import Delivery, Options, Urgency
from lqhq.server.v2.parameters import KNOWN, Asked, read_parameters

KINDS = {"bool_param": True, "int64_param": 1, "uint64_param": 1, "double_param": 1.0, "string_param": "auto"}


def read(streamed: bool = False, **values: Any) -> Asked:
    """What a request with these parameters asks; a value is (kind, value), or what the stock client would send."""
    request = ModelInferRequest()
    kinds = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}
    for key, value in values.items():
        kind, content = value if isinstance(value, tuple) else (kinds[type(value)], value)
        request.parameters[key].CopyFrom(InferParameter(**{kind: content}))
    return read_parameters(request.parameters, native="tensor", prompt=None, streamed=streamed)


def test_nothing_is_asked_for() -> None:
    assert read() == Asked(Options(), Delivery(format="tensor"), Urgency(), progress=False, tiles=False)


def test_everything_is_asked_for() -> None:
    asked = read(
        schedule="three",
        seed=5,
        tile=64,
        overlap=0,
        blend="each",
        prior="tile",
        color_fix="none",
        rules="original",
        tagger=True,
        output_format="webp",
        quality=80,
        bit_depth=8,
        priority=("uint64_param", 2),
        timeout=1500,
        progress=True,
        tiles=True,
        triton_enable_empty_final_response=True,
        streamed=True,
    )
    assert asked.options == Options(
        schedule="three",
        seed=5,
        tile=64,
        overlap=0,
        blend="each",
        prior="tile",
        color_fix="none",
        rules="original",
        tagger=True,
    )
    assert asked.delivery == Delivery(format="webp", quality=80, bit_depth=8)
    assert asked.urgency == Urgency(priority=2, timeout_s=pytest.approx(0.0015))  # microseconds on the wire
    assert (asked.progress, asked.tiles) == (True, True)


def test_tile_may_be_left_to_the_server() -> None:
    assert read(tile="auto").options.tile == "auto"


def test_largest_seed() -> None:
    assert read(seed=("uint64_param", 2**64 - 1)).options.seed == 2**64 - 1


@pytest.mark.parametrize("key", sorted(KNOWN))
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_other_kinds_are_refused(key: str, kind: str) -> None:
    """A flag as 1, a seed as 1.0, a priority as a text: each is told what would be taken."""
    if kind in KNOWN[key].kinds:
        return
    with pytest.raises(RequestError) as caught:
        read(streamed=True, **{key: (kind, KINDS[kind])})
    assert key in caught.value.where
    assert caught.value.found == kind
    assert caught.value.expected == KNOWN[key].expected


def test_no_value_is_refused() -> None:
    request = ModelInferRequest()
    request.parameters["seed"].CopyFrom(InferParameter())
    with pytest.raises(RequestError, match=r"'seed'.*no value"):
        read_parameters(request.parameters, native="tensor", prompt=None, streamed=False)


OUT_OF_RANGE = [
    *(("seed", -1), ("tile", 0), ("tile", 2**31), ("tile", "big"), ("overlap", -1), ("quality", 0), ("quality", 101)),
    *(("bit_depth", 12), ("bit_depth", 32), ("priority", -1), ("timeout", -1), ("output_format", "gif")),
    *(("schedule", "x" * 257), ("blend", "\u00e9" * 129)),
]


@pytest.mark.parametrize(("key", "value"), OUT_OF_RANGE)
def test_values_out_of_range_are_refused(key: str, value: Any) -> None:
    with pytest.raises(OptionError) as caught:
        read(**{key: value})
    assert caught.value.where == key


@pytest.mark.parametrize("key", ["steps", "triton_other", "headers", "binary_data_output", "memory", "scratch", ""])
def test_unknown_keys_are_told_the_known_ones(key: str) -> None:
    with pytest.raises(RequestError) as caught:
        read(**{key: 1})
    assert caught.value.expected == f"one of {', '.join(KNOWN)}"


def test_a_prompt_is_an_input() -> None:
    with pytest.raises(RequestError, match="input of datatype BYTES"):
        read(prompt="trees")


def test_what_is_one_of_some_numbers_says_so() -> None:
    with pytest.raises(OptionError, match="found 12; expected 8 or 16"):
        read(bit_depth=12)


def test_of_a_sequence_its_id_is_named() -> None:
    with pytest.raises(UnsupportedError, match="sequence_id"):
        read(sequence_end=False, sequence_id=4)


@pytest.mark.parametrize("key", ["sequence_id", "sequence_start", "sequence_end"])
def test_sequences_are_not_offered(key: str) -> None:
    with pytest.raises(UnsupportedError, match="sequence"):
        read(**{key: 1})


@pytest.mark.parametrize("key", ["progress", "tiles"])
def test_one_reply_holds_no_more(key: str) -> None:
    assert getattr(read(streamed=True, **{key: True}), key)
    assert not getattr(read(**{key: False}), key)
    with pytest.raises(UnsupportedError, match=f"'{key}'.*ModelStreamInfer"):
        read(**{key: True})


def test_too_many() -> None:
    with pytest.raises(RequestError, match="at most 64"):
        read(**{f"k{index}": 1 for index in range(65)})


def test_the_table_in_the_text_is_whole() -> None:
    described = parameters.__doc__ or ""
    assert [key for key in KNOWN if f"`{key}`" not in described] == []
