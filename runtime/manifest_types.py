"""What every part of the manifest is made of: the closed struct, and the numbers and names that its fields may have."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

__all__ = ["Name", "Positive", "RelativePath", "Side", "Strict"]

Side = Annotated[int, Meta(ge=1, le=1 << 16)]
Positive = Annotated[int, Meta(ge=1)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}\Z")]
RelativePath = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*){0,3}\Z")]


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every part of the manifest is: immutable, named, closed."""
