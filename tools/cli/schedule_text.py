"""`NAME=steps:5,noise:brownian,eps:0.01` on the command line."""

from __future__ import annotations

import argparse
import re
from typing import Any

__all__ = ["schedule_text"]

NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
KEYS = ("steps", "grid", "noise", "eps", "clip")
FORM = "NAME=steps:5,noise:brownian,eps:0.01 (keys: steps or grid:1/0.5/0, noise, eps, clip)"


def schedule_text(text: str) -> tuple[str, dict[str, Any]]:
    """The name and what it says, as the config file would say it. Raises `ArgumentTypeError` for another form."""
    name, equals, body = text.partition("=")
    if not equals or not NAME.fullmatch(name):
        raise argparse.ArgumentTypeError(f"{text!r} is not like {FORM}")
    values: dict[str, Any] = {}
    for part in body.split(","):
        key, colon, value = part.partition(":")
        if not colon or key not in KEYS or key in values:
            raise argparse.ArgumentTypeError(f"{part!r} in {text!r}: expected each key once, {FORM}")
        values[key] = _value(text, key, value)
    return name, values


def _value(text: str, key: str, value: str) -> Any:
    try:
        if key == "steps":
            return int(value)
        if key == "grid":
            return [float(time) for time in value.split("/")]
        if key == "eps" or (key == "clip" and value != "none"):
            return float(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{key}:{value} in {text!r} is no number; {FORM}") from error
    return value
