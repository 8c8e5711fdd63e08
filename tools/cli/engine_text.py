"""Engines of the cache as text: one row each, what they are made of, and the lines of `lqhq inspect`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from lqhq.runtime.bundle import Bundle
from lqhq.runtime.engine_cache.key import Here
from lqhq.runtime.engine_cache.listing import ListedEngine, flavours_in, list_engines
from lqhq.runtime.engine_cache.this_machine import this_machine
from lqhq.runtime.errors import LqhqError
from lqhq.runtime.precision import Plan
from lqhq.runtime.profiles import describe
from lqhq.tools.cli.columns import aligned, clean, size_text

__all__ = ["age_text", "engine_lines", "engine_record", "engine_table", "layer_text"]

HEAD = ("bundle", "role", "precision", "engine", "for", "profiles", "size", "age", "types", "here")
STEPS = ((86400, "d"), (3600, "h"), (60, "min"))


def engine_table(listed: Sequence[ListedEngine], now: datetime, *, gpu: bool) -> list[str]:
    """One line per engine below a head; an engine whose record cannot be read has its name and the reason.

    gpu: whether there is one here to run them.
    """
    return aligned([HEAD, *(_row(one, now, gpu) for one in listed)])


def engine_lines(bundle: Bundle, folder: Path, here: Here | None = None) -> list[str]:
    """The engines in `folder` that were built from the graphs of `bundle`, for its page; none gives one line.

    here: this machine; None asks it. A folder that cannot be read is one line, too: a bundle is whole without engines.
    """
    graphs = bundle.manifest.graphs
    digests = {bundle.graph(role, precision).digest for role, variants in graphs.items() for precision in variants}
    try:
        here = this_machine(sorted(flavours_in(folder))) if here is None else here
        listed = list_engines(folder, here)
    except LqhqError as error:
        return [f"  {clean(str(error))}"]
    found = [one for one in listed if one.record is not None and one.record.key.graph in digests]
    return (
        engine_table(found, datetime.now(UTC), gpu=here.gpu is not None)
        if found
        else ["  none built here; `lqhq engines build` builds them"]
    )


def engine_record(one: ListedEngine) -> dict[str, Any]:
    """Everything about an engine, for JSON."""
    return {
        "slot": one.slot,
        "bundle": one.bundle,
        "bytes": one.bytes,
        "usable": one.fault is None,
        "fault": one.fault,
        "record": None if one.record is None else msgspec.to_builtins(one.record),
    }


def layer_text(parsed: Plan) -> str:
    """What an engine's network multiplies matrices in: `9 convolution float16, 2 matmul float32`."""
    counts = [
        f"{count} {kind} {dtype}" for kind, types in parsed.layers.items() for dtype, count in types.items() if count
    ]
    return ", ".join(counts) or "no layers that multiply matrices"


def age_text(seconds: float) -> str:
    """A time span for people, in its largest whole unit."""
    for length, unit in STEPS:
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"


def _row(one: ListedEngine, now: datetime, gpu: bool) -> tuple[str, ...]:
    verdict = ("usable" if gpu else "whole; no GPU here") if one.fault is None else clean(one.fault)
    if one.record is None:
        return (clean(one.slot), "-", "-", "-", "-", "-", size_text(one.bytes), "-", "-", verdict)
    key = one.record.key
    return (
        clean(key.bundle),
        key.role,
        key.precision,
        clean(f"{key.flavour} {key.version}"),
        clean(", ".join(key.targets) or str(key.gpu)),
        ", ".join(describe(profile) for profile in key.profiles),
        size_text(one.bytes),
        age_text((now - one.record.built).total_seconds()),
        one.record.state,
        verdict,
    )
