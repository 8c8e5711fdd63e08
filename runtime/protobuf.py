"""Reads the protobuf wire format from an untrusted buffer: the fields of a message, one by one, uncopied.

It knows no schema. A length never reaches past its message, a varint never past ten bytes, and one reader
hands out at most `MAX_FIELDS` fields, so a hostile file costs bounded time.
Format: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import NamedTuple

from lqhq.runtime.errors import BundleError

__all__ = ["BYTES", "VARINT", "Field", "Reader", "Span"]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FIXED_SIZES = {FIXED64: 8, FIXED32: 4}
MAX_FIELDS = 4_000_000  # about 3 s of walking; the graph of an 866 M UNet has under 100 000
MAX_VARINT_BYTES = 10  # 64 bits in groups of 7
MAX_TEXT_BYTES = 4096  # names and paths; the longest that exporters write are about 200


class Span(NamedTuple):
    """Where a message lies in the buffer: bytes [start, end)."""

    start: int
    end: int


class Field(NamedTuple):
    """One field: `value` is a varint's unsigned value, `span` the payload of every other wire type."""

    number: int
    wire: int
    value: int
    span: Span


class Reader:
    """A buffer, its name for error messages, and the fields still to be handed out."""

    def __init__(self, buffer: bytes | mmap.mmap, where: str) -> None:
        self._buffer, self.where, self._left = buffer, where, MAX_FIELDS

    def fault(self, found: str, expected: str) -> BundleError:
        """The error for a buffer that is not what it claims to be; the caller raises it."""
        return BundleError(self.where, found=found, expected=expected, mend="Get the bundle again, or export it again.")

    def fields(self, message: Span) -> Iterator[Field]:
        """The fields of one message in file order. Raises `BundleError` where the bytes are malformed."""
        at, end = message
        while at < end:
            self._left -= 1
            if self._left < 0:
                raise self.fault(f"more than {MAX_FIELDS} fields", "a graph of sane size")
            field = self._field(at, end)
            at = field.span.end
            yield field

    def integers(self, field: Field) -> list[int]:
        """A repeated int64 field's signed values, whether packed or written one by one."""
        if field.wire == VARINT:
            return [signed(field.value)]
        at, end = self.message(field)
        values = []
        while at < end:
            value, at = self._varint(at, end)
            values.append(signed(value))
        return values

    def message(self, field: Field) -> Span:
        """The payload of a field that must be length-delimited."""
        if field.wire != BYTES:
            raise self.fault(f"wire type {field.wire} in field {field.number}", "a length-delimited value there")
        return field.span

    def number(self, field: Field) -> int:
        """The signed value of a field that must be a varint."""
        if field.wire != VARINT:
            raise self.fault(f"wire type {field.wire} in field {field.number}", "a varint there")
        return signed(field.value)

    def text(self, field: Field) -> str:
        """The UTF-8 value of a field that must be a string of at most `MAX_TEXT_BYTES`."""
        start, end = self.message(field)
        if end - start > MAX_TEXT_BYTES:
            raise self.fault(f"a name of {end - start} bytes", f"at most {MAX_TEXT_BYTES}")
        try:
            return self._buffer[start:end].decode()
        except UnicodeDecodeError as error:
            raise self.fault(f"a name that is not UTF-8 ({error.reason})", "UTF-8 text") from error

    def _field(self, at: int, end: int) -> Field:
        key, at = self._varint(at, end)
        number, wire = key >> 3, key & 7
        if not 1 <= number < 1 << 29:
            raise self.fault(f"field number {number} before byte {at}", "a number from 1 to 2^29 - 1")
        if wire == VARINT:
            value, after = self._varint(at, end)
            return Field(number, wire, value, Span(at, after))
        if wire == BYTES:
            size, at = self._varint(at, end)
        elif wire in FIXED_SIZES:
            size = FIXED_SIZES[wire]
        else:
            raise self.fault(f"wire type {wire} before byte {at}", "0, 1, 2 or 5: this is not a protobuf message")
        if size > end - at:
            raise self.fault(f"a field of {size} bytes at byte {at}", f"at most the {end - at} that are left")
        return Field(number, wire, 0, Span(at, at + size))

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for index in range(MAX_VARINT_BYTES):
            if at + index >= end:
                raise self.fault(f"the end of the message inside a number at byte {at}", "a whole number")
            byte = self._buffer[at + index]
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                # Bits above 64 are dropped, as protobuf's own parsers do.
                return value & ((1 << 64) - 1), at + index + 1
        raise self.fault(f"a number of more than {MAX_VARINT_BYTES} bytes at byte {at}", "at most 64 bits")


def signed(value: int) -> int:
    """An unsigned 64-bit varint as the int64 it stands for."""
    return value - (1 << 64) if value >> 63 else value
