"""Side files of a flavour: what makes a build or a start faster, and is merely lost where it is damaged.

Full TensorRT keeps a timing cache for each version, GPU and driver; TensorRT-RTX the kernels that it made when an
engine was opened, for each engine, GPU and driver. A file is a line of its own, the SHA-256 of the rest, and the
flavour's bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from lqhq.runtime.engine_cache.key import EngineKey, Gpu
from lqhq.runtime.engine_cache.names import expanded, write_whole
from lqhq.runtime.engine_cache.record import Record, read_plain
from lqhq.runtime.engine_spec import Flavour

__all__ = ["MAX_SIDE_BYTES", "kernels_name", "read_side", "timing_name", "write_side"]

MAX_SIDE_BYTES = 256 << 20  # a timing cache takes a few MB; what grew beyond this would cost more than it saves
MAGIC = b"lqhq side file 1\n"
HEADER = len(MAGIC) + hashlib.sha256().digest_size


def timing_name(key: EngineKey, gpu: Gpu, driver: str | None) -> str:
    """The file of a timing cache: kernels timed by one version on one model of GPU under one driver."""
    return _name("timing", key.flavour, key.version, str(gpu), driver or "")


def kernels_name(record: Record, gpu: Gpu, driver: str) -> str:
    """The file of the kernels made for one engine on one model of GPU under one driver, by its full version."""
    return _name("kernels", record.key.flavour, record.key.version, record.sha256, str(gpu), driver)


def read_side(folder: Path, name: str) -> bytes | None:
    """What was written under `name`; None where there is nothing, or it is damaged. Never raises."""
    try:
        data = read_plain(expanded(folder) / name, HEADER + MAX_SIDE_BYTES)
    except OSError:
        return None
    return data[HEADER:] if is_whole(data) else None


def write_side(folder: Path, name: str, data: bytes | memoryview, *, say: Callable[[str], None]) -> None:
    """Keep `data` under `name` in one step. Too much of it, or a folder that cannot be written, is only said."""
    size = memoryview(data).nbytes
    if size > MAX_SIDE_BYTES:
        say(f"{name} is not kept: {size} bytes, at most {MAX_SIDE_BYTES} are")
        return
    try:
        place = expanded(folder)
        place.mkdir(parents=True, exist_ok=True)
        write_whole(place / name, b"".join((MAGIC, hashlib.sha256(data).digest(), data)), name)
    except OSError as error:
        say(f"{name} is not kept: {folder} cannot be written ({error.strerror or error})")


def is_whole(data: bytes) -> bool:
    """Whether these are the bytes of a side file as it was written."""
    return data.startswith(MAGIC) and hashlib.sha256(memoryview(data)[HEADER:]).digest() == data[len(MAGIC) : HEADER]


def _name(kind: str, flavour: Flavour, version: str, *parts: str) -> str:
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
    return f"{kind}.{flavour}.{version}.{digest}.side"
