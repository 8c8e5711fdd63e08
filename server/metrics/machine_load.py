"""How busy the machine is: Triton's `nv_cpu_*` gauges. Format: proc(5), /proc/stat and /proc/meminfo."""

from __future__ import annotations

from pathlib import Path

from lqhq.server.metrics.exposition import Family

__all__ = ["MachineLoad"]

ROOT = Path("/")
IDLE, IOWAIT, STEAL = 3, 4, 7  # fields of the line `cpu`; guest time, after them, is part of user time already


class MachineLoad:
    """Of the whole machine, as Triton reports it, not of this process or container. `root` stands in for `/` in tests.

    Utilisation is over the time since the last reading; of one thread.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._busy, self._all = self._ticks()

    def families(self) -> list[Family]:
        """Without a sample where the kernel does not say."""
        used = Family("nv_cpu_utilization", "gauge", "Share of all cores' time in use, 0 to 1, since the last reading")
        total = Family("nv_cpu_memory_total_bytes", "gauge", "The machine's memory")
        taken = Family("nv_cpu_memory_used_bytes", "gauge", "The machine's memory that is not available")
        busy, everything = self._ticks()
        if everything > self._all:
            used.add(min(1.0, max(0.0, (busy - self._busy) / (everything - self._all))))
        self._busy, self._all = busy, everything
        memory = self._memory()
        if "MemTotal:" in memory and "MemAvailable:" in memory:
            total.add(memory["MemTotal:"])
            taken.add(memory["MemTotal:"] - memory["MemAvailable:"])
        return [used, total, taken]

    def _ticks(self) -> tuple[int, int]:
        """(busy, all) since boot; (0, 0) where it is not told."""
        words = self._text("proc/stat").partition("\n")[0].split()
        if len(words) < STEAL + 2 or words[0] != "cpu" or not all(word.isdecimal() for word in words[1:]):
            return 0, 0
        ticks = [int(word) for word in words[1 : STEAL + 2]]
        return sum(ticks) - ticks[IDLE] - ticks[IOWAIT], sum(ticks)

    def _memory(self) -> dict[str, int]:
        rows = (line.split() for line in self._text("proc/meminfo").splitlines())
        return {row[0]: int(row[1]) * 1024 for row in rows if len(row) >= 2 and row[1].isdecimal()}

    def _text(self, name: str) -> str:
        try:
            return (self._root / name).read_text()
        except OSError:
            return ""
