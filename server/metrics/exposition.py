"""Families of samples as Prometheus' text, format 0.0.4.

Written here because the official client renames every counter to `..._total`, and Triton's names have none.
Format: prometheus.io/docs/instrumenting/exposition_formats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from lqhq.server.metrics.tally import Histogram

__all__ = ["CONTENT_TYPE", "Family", "exposition"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(slots=True)
class Family:
    """One metric: its samples by labels. `about` says what it means, with its unit."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    about: str
    lines: list[str] = field(default_factory=list)

    def add(self, value: float, labels: Mapping[str, str] | None = None) -> None:
        """One sample."""
        self.lines.append(_line(self.name, labels or {}, value))

    def add_histogram(self, histogram: Histogram, labels: Mapping[str, str]) -> None:
        """The samples of one histogram."""
        for bound, count in zip(histogram.bounds, histogram.up_to, strict=True):
            self.lines.append(_line(f"{self.name}_bucket", {**labels, "le": _number(bound)}, count))
        self.lines.append(_line(f"{self.name}_bucket", {**labels, "le": "+Inf"}, histogram.values))
        self.lines.append(_line(f"{self.name}_sum", labels, histogram.total))
        self.lines.append(_line(f"{self.name}_count", labels, histogram.values))


def exposition(families: Iterable[Family]) -> bytes:
    """UTF-8. Families without samples are named all the same, so that a reader learns of them."""
    parts = []
    for family in families:
        about = family.about.replace("\\", "\\\\").replace("\n", "\\n")
        parts.append(f"# HELP {family.name} {about}\n# TYPE {family.name} {family.kind}\n")
        parts.extend(family.lines)
    return "".join(parts).encode(errors="replace")


def _line(name: str, labels: Mapping[str, str], value: float) -> str:
    told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"{name}{{{told}}} {_number(value)}\n" if told else f"{name} {_number(value)}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return repr(value) if isinstance(value, int) else repr(float(value))
