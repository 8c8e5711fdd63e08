"""How busy the machine is, from made-up /proc trees."""

from __future__ import annotations

from pathlib import Path

from lqhq.server.metrics.exposition import exposition
from lqhq.server.metrics.machine_load import MachineLoad


def tree(root: Path, stat: str, memory: str = "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 400 kB\n") -> Path:
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc/stat").write_text(stat)
    (root / "proc/meminfo").write_text(memory)
    return root


def samples(load: MachineLoad) -> list[str]:
    return [line for line in exposition(load.families()).decode().splitlines() if not line.startswith("#")]


def test_since_the_last_reading(tmp_path: Path) -> None:
    # user nice system idle iowait irq softirq steal guest guest_nice
    load = MachineLoad(tree(tmp_path, "cpu 100 0 0 100 0 0 0 0 50 0\ncpu0 1 1\n"))
    tree(tmp_path, "cpu 130 0 10 150 5 0 0 5 80 0\n")  # 45 of 100 ticks; guest time is in user time already
    assert samples(load) == [
        "nv_cpu_utilization 0.45",
        "nv_cpu_memory_total_bytes 1024000",
        "nv_cpu_memory_used_bytes 614400",
    ]
    assert samples(load)[0].startswith("nv_cpu_memory")  # no time has passed


def test_what_the_kernel_does_not_say_is_left_out(tmp_path: Path) -> None:
    assert samples(MachineLoad(tmp_path)) == []
    assert samples(MachineLoad(tree(tmp_path, "cpu x\n", "MemTotal: y kB\n"))) == []


def test_this_machine() -> None:
    load = MachineLoad()
    told = dict(line.split() for line in samples(load)[-2:])
    assert 0 < int(told["nv_cpu_memory_used_bytes"]) < int(told["nv_cpu_memory_total_bytes"])
