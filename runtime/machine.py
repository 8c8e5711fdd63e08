"""What this machine lets one process use: bytes of memory and CPU cores, inside a container or not.

Linux only, read from /proc and /sys; `root` stands in for `/` in tests. Formats: proc(5), the kernel's
admin-guide/cgroup-v2 and cgroup-v1.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["available_memory", "cpu_count", "give_back", "total_memory"]

ROOT = Path("/")
# Version 1 says "no limit" with a number just below 2^63.
NO_LIMIT = 1 << 60


def available_memory(root: Path = ROOT) -> int:
    """Bytes that can be allocated now without swapping: MemAvailable or the tightest cgroup's headroom."""
    return max(0, min([_meminfo(root, "MemAvailable"), *_headrooms(root)]))


def total_memory(root: Path = ROOT) -> int:
    """Bytes that this process could ever have: MemTotal or the tightest cgroup's limit."""
    limits = [limit for folder in _groups(root, "memory") if (limit := _memory_limit(folder)) is not None]
    return min([_meminfo(root, "MemTotal"), *limits])


def cpu_count(root: Path = ROOT) -> int:
    """Cores worth a thread each: the affinity mask or the tightest cgroup's quota, rounded up, at least 1."""
    quotas = [math.ceil(quota) for folder in _groups(root, "cpu") if (quota := _cpu_quota(folder)) is not None]
    return max(1, min([len(os.sched_getaffinity(0)), *quotas]))


def give_back() -> None:
    """Give memory that was freed back to the system: glibc keeps it, and the next engine takes its own."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # other C libraries have no such thing
    if trim is not None:
        trim(0)


def _headrooms(root: Path) -> Iterator[int]:
    for folder in _groups(root, "memory"):
        limit = _memory_limit(folder)
        if limit is None:
            continue
        used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes") or 0
        # File pages that the kernel drops on demand count as used there, but not in MemAvailable.
        stat = _table(folder / "memory.stat")
        yield limit - used + stat.get("total_inactive_file", stat.get("inactive_file", 0))


def _memory_limit(folder: Path) -> int | None:
    limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
    return limit if limit is not None and limit < NO_LIMIT else None


def _cpu_quota(folder: Path) -> float | None:
    """Cores' worth of time per period, or None where there is no limit (`max`, or -1 in version 1)."""
    words = _text(folder / "cpu.max").split()
    if not words:
        words = [_text(folder / "cpu.cfs_quota_us").strip(), _text(folder / "cpu.cfs_period_us").strip()]
    if len(words) != 2 or not all(word.isdecimal() for word in words) or int(words[1]) == 0:
        return None
    return int(words[0]) / int(words[1])


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of this process's cgroup and of all above it, in both versions, where they exist."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not controllers:
            mounts = [root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"]
        elif controller in controllers.split(","):
            mounts = [root / "sys/fs/cgroup" / controller, root / "sys/fs/cgroup" / controllers]
        else:
            continue
        # In a container the path may be the host's; then only the mount itself is there.
        steps = [part for part in path.split("/") if part not in ("", "..")]
        for mount in dict.fromkeys(mounts):
            for depth in range(len(steps), -1, -1):
                folder = mount.joinpath(*steps[:depth])
                if folder.is_dir():
                    yield folder


def _meminfo(root: Path, key: str) -> int:
    """A row of /proc/meminfo in bytes; 0 where it is missing."""
    return _table(root / "proc/meminfo").get(f"{key}:", 0) * 1024


def _table(path: Path) -> dict[str, int]:
    rows = (line.split() for line in _text(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) >= 2 and row[1].isdecimal()}


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    """A small file's text; empty where the kernel does not offer it."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
