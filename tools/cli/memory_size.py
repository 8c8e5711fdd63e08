"""Sizes of memory as options."""

from __future__ import annotations

import argparse

from lqhq.runtime.byte_size import byte_size

__all__ = ["memory_size"]


def memory_size(text: str) -> int:
    """Bytes of `text`, as `byte_size` reads it.

    Raises `argparse.ArgumentTypeError`, which argparse shows with the option's name.
    """
    try:
        return byte_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
