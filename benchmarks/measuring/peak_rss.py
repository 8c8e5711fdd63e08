"""The largest resident memory that this process has had."""

from __future__ import annotations

from pathlib import Path

__all__ = ["peak_rss"]


def peak_rss() -> int:
    """Bytes, from VmHWM of /proc/self/status (proc(5)).

    Not `getrusage`: a process made by vfork and exec begins with its parent's `ru_maxrss`, and a large parent
    would be taken for a large child.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status: found no VmHWM; expected Linux")
