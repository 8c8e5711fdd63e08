"""Enum values of lqhq.v1 as the words that options and manifests use, and back."""

from __future__ import annotations

from typing import Any

from lqhq.server.v2.errors import RequestError

__all__ = ["number_of", "word_of"]

# The enums are typed as classes in the stubs and are wrappers at run time; only what both have is used.
Enum = Any


def _prefix(enum: Enum) -> str:
    """What all names of the enum begin with, from that of its zero."""
    zero: str = enum.Name(0)
    return zero.removesuffix("UNSPECIFIED")


def word_of(enum: Enum, number: int, where: str) -> str | None:
    """The word of a value that came: "each"; None for the unspecified one.

    Raises `RequestError` for one that is not known here: an option that is newer than this server must not be lost.
    """
    if number == 0:
        return None
    if number not in enum.values():
        raise RequestError(
            where,
            found=f"the value {number}",
            expected=f"one of {', '.join(enum.keys())}",
            mend="Leave it out, or ask a newer server.",
        )
    return str(enum.Name(number)).removeprefix(_prefix(enum)).lower()


def number_of(enum: Enum, word: str) -> Any:
    """The value of a word of ours; 0, unspecified, for an empty one. `ValueError` for a word without a value."""
    return enum.Value(_prefix(enum) + word.upper()) if word else 0
