"""The wire-format reader against hand-made bytes; whole files are in test_onnx_file.py."""

from __future__ import annotations

import pytest

from lqhq.runtime import protobuf
from lqhq.runtime.errors import BundleError
from lqhq.runtime.protobuf import Reader, Span


def fields(data: bytes) -> list[protobuf.Field]:
    return list(Reader(data, "x.onnx").fields(Span(0, len(data))))


def test_every_wire_type() -> None:
    data = bytes([0x08, 0x96, 0x01, 0x11, *range(8), 0x1A, 2, 65, 66, 0x25, *range(4)])
    assert [(f.number, f.wire, f.value, f.span) for f in fields(data)] == [
        (1, 0, 150, (1, 3)),
        (2, 1, 0, (4, 12)),
        (3, 2, 0, (14, 16)),
        (4, 5, 0, (17, 21)),
    ]


def test_packed_and_single_integers_read_alike_with_sign() -> None:
    minus_one = bytes([0xFF] * 9 + [0x01])
    packed = b"\x0a\x0b\x05" + minus_one
    single = b"\x08\x05\x08" + minus_one
    reader = Reader(packed, "x")
    assert reader.integers(fields(packed)[0]) == [5, -1]
    assert [n for f in fields(single) for n in Reader(single, "x").integers(f)] == [5, -1]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x08", "the end of the message"),
        (b"\x08" + b"\x80" * 11, "more than 10 bytes"),
        (b"\x0a\x7f\x00", "a field of 127 bytes"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "at most the 0 that are left"),
        (b"\x0d\x00", "a field of 4 bytes"),
        (b"\x0b", "wire type 3"),
        (b"\x0e", "wire type 6"),
        (b"\x00\x00", "field number 0"),
    ],
)
def test_malformed_bytes_are_named(data: bytes, said: str) -> None:
    with pytest.raises(BundleError, match=said):
        fields(data)


def test_a_field_of_the_wrong_kind_is_refused() -> None:
    data = b"\x08\x01\x12\x01\xff"
    number, text = fields(data)
    reader = Reader(data, "x")
    for read, field in ((reader.text, number), (reader.message, number), (reader.number, text)):
        with pytest.raises(BundleError, match="wire type"):
            read(field)
    with pytest.raises(BundleError, match="not UTF-8"):
        reader.text(text)


def test_long_names_and_endless_fields_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"\x0a\x81\x20" + b"a" * 4097
    with pytest.raises(BundleError, match="a name of 4097 bytes"):
        Reader(data, "x").text(fields(data)[0])
    monkeypatch.setattr(protobuf, "MAX_FIELDS", 10)
    assert len(fields(b"\x08\x01" * 10)) == 10
    with pytest.raises(BundleError, match="more than 10 fields"):
        fields(b"\x08\x01" * 11)
