"""Enum values of lqhq.v1 as the words that the command line and `Restorer.restore` use, and back."""

from __future__ import annotations

from typing import Any

from lqhq.runtime.errors import OptionError

__all__ = ["number_of", "word_of", "words_of"]

# The enums are typed as classes in the stubs and are wrappers at run time; only what both have is used.
Enum = Any


def _prefix(enum: Enum) -> str:
    """What all names of the enum begin with, from that of its zero."""
    zero: str = enum.Name(0)
    return zero.removesuffix("UNSPECIFIED")


def words_of(enum: Enum) -> tuple[str, ...]:
    """The words of an enum, by number, without the unspecified one: ("each", "final")."""
    prefix = _prefix(enum)
    return tuple(str(name).removeprefix(prefix).lower() for name in enum.keys() if enum.Value(name))  # noqa: SIM118


def word_of(enum: Enum, number: int) -> str:
    """The word of a value; empty for the unspecified one, and for one that is newer than this client."""
    if not number or number not in enum.values():
        return ""
    return str(enum.Name(number)).removeprefix(_prefix(enum)).lower()


def number_of(enum: Enum, option: str, word: str | None) -> Any:
    """The value that `word` names; 0, unspecified, for None. Raises `OptionError` for another word."""
    if word is None:
        return 0
    words = words_of(enum)
    if word not in words:
        raise OptionError(
            option, found=repr(word)[:80], expected=" or ".join(map(repr, words)), mend="Leave it out for the default."
        )
    return enum.Value(_prefix(enum) + word.upper())
