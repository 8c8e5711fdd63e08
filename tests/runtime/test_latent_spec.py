"""Parts of a manifest that say how a latent model is run: bounds, and canvases in order."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from lqhq.runtime.latent_spec import GroupNorm, Latent, Prompt, Segment, Tagger, check_canvases, segment_files

SEGMENT = {"file": "segments/a.onnx", "x": "input", "y": "output", "channels": 4}
PROMPT = {"tokenizer": "assets/t.json", "length": 3, "template": "{tags}, {words},", "empty": [1, 2, 0]}


def segment(x: str, y: str, **fields: Any) -> Segment:
    return msgspec.convert({**SEGMENT, "x": x, "y": y, **fields}, Segment)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (Latent, {"channels": 4, "factor": 8}),
        (Latent, {"channels": 16, "factor": 2}),
        (GroupNorm, {"groups": 32, "eps": 1e-6}),
        (Segment, {**SEGMENT, "skip": "noise", "halo": 64, "up": 1, "down": 2}),
        (Segment, {**SEGMENT, "kind": "attention", "skip": "noise"}),
        (Prompt, PROMPT),
        (Tagger, {"side": 384, "names": "assets/n.txt", "thresholds": "assets/t.txt"}),
    ],
)
def test_what_fits_is_read_and_written_back(kind: Any, fields: dict[str, Any]) -> None:
    found = msgspec.convert(fields, kind)
    assert msgspec.json.decode(msgspec.json.encode(found), type=kind) == found


@pytest.mark.parametrize(
    ("kind", "fields", "where"),
    [
        (Latent, {"channels": 0, "factor": 8}, "channels"),
        (Latent, {"channels": 4, "factor": 1}, "factor"),
        (Latent, {"channels": 4, "factor": 65}, "factor"),
        (Latent, {"channels": 4, "factor": 8, "scale": 0.18}, "scale"),
        (GroupNorm, {"groups": 0, "eps": 1e-6}, "groups"),
        (GroupNorm, {"groups": 2, "eps": 0}, "eps"),
        (GroupNorm, {"groups": 2, "eps": 2}, "eps"),
        (Segment, {**SEGMENT, "up": 3}, "up"),
        (Segment, {**SEGMENT, "down": 4}, "down"),
        (Segment, {**SEGMENT, "halo": -1}, "halo"),
        (Segment, {**SEGMENT, "halo": 65}, "halo"),
        (Segment, {**SEGMENT, "kind": "columns"}, "kind"),
        (Segment, {**SEGMENT, "up": 2, "down": 2}, "rows of x and y do not match"),
        (Segment, {**SEGMENT, "down": 2, "halo": 1}, "rows of x and y do not match"),
        (Segment, {**SEGMENT, "kind": "attention", "norm": {"groups": 2, "eps": 1e-6}}, "it has no norm"),
        (Segment, {**SEGMENT, "kind": "attention", "halo": 1}, "it has no norm"),
        (Segment, {**SEGMENT, "kind": "attention", "up": 2}, "it has no norm"),
        (Segment, {**SEGMENT, "channels": 1 << 15}, "channels"),
        (Segment, {**SEGMENT, "file": "../a.onnx"}, "file"),
        (Segment, {**SEGMENT, "y": "Out put"}, "y"),
        (Prompt, PROMPT | {"length": 1, "empty": [1]}, "length|empty"),
        (Prompt, PROMPT | {"length": 2000}, "length"),
        (Prompt, PROMPT | {"empty": [1, 2, -1]}, "empty"),
        (Prompt, PROMPT | {"empty": [1, 2]}, "empty has 2 ids; expected length, 3"),
        (Prompt, PROMPT | {"tokenizer": "/etc/passwd"}, "tokenizer"),
        (Tagger, {"side": 0, "names": "n", "thresholds": "t"}, "side"),
        (Tagger, {"side": 384, "names": "n"}, "thresholds"),
    ],
)
def test_what_does_not_is_refused_by_name(kind: Any, fields: dict[str, Any], where: str) -> None:
    """The planted faults."""
    with pytest.raises(msgspec.ValidationError, match=where):
        msgspec.convert(fields, kind)


def test_files_of_segments_are_all_named() -> None:
    parts = [segment("input", "a", external_data=["segments/a.data"]), segment("a", "output", file="segments/b.onnx")]
    assert list(segment_files(parts)) == ["segments/a.onnx", "segments/a.data", "segments/b.onnx"]


def test_canvases_in_order_pass() -> None:
    check_canvases("encode", [segment("input", "a"), segment("a", "output", skip="noise")])
    check_canvases("decode", [segment("input", "a"), segment("a", "b"), segment("b", "output", skip="a")])


@pytest.mark.parametrize(
    ("role", "parts", "message"),
    [
        ("decode", [("a", "output", None)], r"segments\.decode\[0\] reads a and writes output: not in order"),
        ("decode", [("input", "a", "noise"), ("a", "output", None)], r"decode\[0\] reads input, noise"),
        ("encode", [("input", "a", "b"), ("a", "b", None), ("b", "output", None)], r"encode\[0\] reads input, b"),
        ("encode", [("input", "a", None), ("a", "a", None)], r"encode\[1\] reads a and writes a"),
        ("encode", [("input", "input", None)], r"encode\[0\] reads input and writes input"),
        ("encode", [("input", "noise", None)], "writes noise"),
        ("encode", [("input", "a", None), ("a", "b", None)], "segments.encode end with 'b'; expected 'output'"),
        ("encode", [("input", "output", None), ("output", "b", None)], "end with 'b'"),
    ],
)
def test_canvases_out_of_order_are_refused(role: str, parts: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_canvases(role, [segment(x, y, skip=skip) for x, y, skip in parts])


@pytest.mark.parametrize("x", ["input", "noise"])
def test_nobody_measures_what_a_role_is_given(x: str) -> None:
    norm = {"groups": 2, "eps": 1e-6}
    with pytest.raises(ValueError, match=rf"encode\[1\] has a norm of {x}"):
        check_canvases("encode", [segment("input", "a"), segment(x, "output", norm=norm)])
