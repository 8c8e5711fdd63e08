"""The error tree. Every message says what was found, what was expected and how to mend it.

LqhqError
├── BundleError        a bundle or its manifest is wrong, damaged, hostile or too new
├── CheckpointError    a checkpoint is wrong, half-matching, unknown or unsafe
├── EngineError        an engine cannot be had or failed
├── ImageError         an image cannot be decoded or is of a kind we do not take
├── LimitError         a size or memory limit would be passed
├── OptionError        an option's value does not fit the bundle or the image
├── ScheduleError      a schedule is not a table of rows, or has no finite numbers
└── CancelledError     the caller asked to stop
"""

from __future__ import annotations

__all__ = [
    "BundleError",
    "CancelledError",
    "CheckpointError",
    "EngineError",
    "ImageError",
    "LimitError",
    "LqhqError",
    "OptionError",
    "ScheduleError",
]


class LqhqError(Exception):
    """Any expected failure. `where: found ..., expected ...; mend`."""

    def __init__(self, where: str, *, found: str, expected: str, mend: str) -> None:
        self.where, self.found, self.expected, self.mend = where, found, expected, mend
        super().__init__(f"{where}: found {found}; expected {expected}. {mend}")


class BundleError(LqhqError):
    """A bundle or its manifest is wrong, damaged, hostile or too new."""


class CheckpointError(LqhqError):
    """A checkpoint is wrong, half-matching, unknown or unsafe to load."""


class EngineError(LqhqError):
    """An engine cannot be had here, or failed while running."""


class ImageError(LqhqError):
    """An image cannot be decoded, or is of a kind that lqhq does not take."""


class LimitError(LqhqError):
    """A size or memory limit would be passed; nothing was allocated."""


class OptionError(LqhqError):
    """An option's value does not fit the bundle or the image."""


class ScheduleError(LqhqError):
    """A schedule cannot be written as rows, or its numbers are not finite."""


class CancelledError(LqhqError):
    """The caller's `cancel` said stop; no result exists."""
