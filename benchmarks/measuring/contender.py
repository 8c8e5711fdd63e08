"""The child's side: loads one contender, then answers orders, one JSON object a line each way.

    python -m measuring.contender FILE FUNCTION OPTIONS ORDERS REPLIES     (started by `contest.py`)

`FILE` holds `FUNCTION(**OPTIONS) -> Entry`. ORDERS and REPLIES are descriptors of pipes; standard output stays
free for whatever a library prints. Orders: `run` -> seconds, `answer` -> its .npy file, `peak` -> bytes.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from measuring.entry import Entry
from measuring.peak_rss import peak_rss

__all__ = ["load"]


def load(file: str, function: str, options: Mapping[str, Any]) -> Entry:
    """Import `file` by its path and call its function."""
    spec = importlib.util.spec_from_file_location("contender", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["contender"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    entry: Entry = getattr(module, function)(**options)
    return entry


def timed(entry: Entry) -> float:
    start = time.perf_counter()
    entry.run()
    return time.perf_counter() - start


def replies(entry: Entry, orders: Iterator[str]) -> Iterator[dict[str, Any]]:
    """One reply for each order; the first, without one, says that loading is done."""
    yield {"note": entry.note}
    for line in orders:
        order = json.loads(line)
        if order["order"] == "run":
            yield {"seconds": timed(entry)}
        elif order["order"] == "answer":
            if entry.answer is None:
                raise ValueError("answer: found an entry without one; expected Entry(answer=...)")
            np.save(order["path"], entry.answer())
            yield {"path": order["path"]}
        else:
            yield {"peak": peak_rss()}


def main(file: str, function: str, options: str, orders: str, out: str) -> None:
    entry = load(file, function, json.loads(options))
    with os.fdopen(int(orders)) as lines, os.fdopen(int(out), "w") as sink:
        for reply in replies(entry, lines):
            print(json.dumps(reply), file=sink, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
