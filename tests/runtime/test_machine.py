"""Memory and cores as told by made-up /proc and /sys trees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lqhq.runtime.machine import available_memory, cpu_count, total_memory

MIB = 1 << 20
MEMINFO = "MemTotal:  1048576 kB\nMemFree: 1 kB\nMemAvailable:  524288 kB\n"
V2 = "sys/fs/cgroup"


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_without_cgroups(tmp_path: Path) -> None:
    root = tree(tmp_path, {})
    assert (available_memory(root), total_memory(root), cpu_count(root)) == (512 * MIB, 1024 * MIB, 8)


def test_version_2_counts_the_tightest_of_all_levels(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "0::/slice/job\n",
            f"{V2}/slice/memory.max": f"{300 * MIB}\n",
            f"{V2}/slice/memory.current": f"{250 * MIB}\n",
            f"{V2}/slice/memory.stat": f"anon 5\ninactive_file {20 * MIB}\n",
            f"{V2}/slice/cpu.max": "250000 100000\n",
            f"{V2}/slice/job/memory.max": "max\n",
            f"{V2}/slice/job/memory.current": "7\n",
            f"{V2}/slice/job/cpu.max": "max 100000\n",
        },
    )
    assert (available_memory(root), total_memory(root), cpu_count(root)) == (70 * MIB, 300 * MIB, 3)


def test_version_1_and_a_containers_foreign_path(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n",
            f"{V2}/memory/memory.limit_in_bytes": f"{200 * MIB}\n",
            f"{V2}/memory/memory.usage_in_bytes": f"{150 * MIB}\n",
            f"{V2}/memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {10 * MIB}\n",
            f"{V2}/cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
            f"{V2}/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
    )
    assert (available_memory(root), total_memory(root), cpu_count(root)) == (60 * MIB, 200 * MIB, 1)


def test_version_1_without_limits(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/self/cgroup": "5:cpu:/\n4:memory:/\n",
            f"{V2}/memory/memory.limit_in_bytes": "9223372036854771712\n",
            f"{V2}/cpu/cpu.cfs_quota_us": "-1\n",
            f"{V2}/cpu/cpu.cfs_period_us": "100000\n",
        },
    )
    assert (available_memory(root), total_memory(root), cpu_count(root)) == (512 * MIB, 1024 * MIB, 8)


@pytest.mark.parametrize("text", ["", "nonsense", "1 2 3", "100 0", "::", "max max"])
def test_odd_kernel_files_are_no_limit(tmp_path: Path, text: str) -> None:
    root = tree(
        tmp_path,
        {"proc/self/cgroup": f"0::/\n{text}\n", f"{V2}/memory.max": text, f"{V2}/cpu.max": text},
    )
    assert (available_memory(root), cpu_count(root)) == (512 * MIB, 8)


def test_a_group_over_its_limit_has_nothing_left(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {"proc/self/cgroup": "0::/\n", f"{V2}/memory.max": "100", f"{V2}/memory.current": "300"},
    )
    assert available_memory(root) == 0


def test_this_machine() -> None:
    assert 0 < available_memory() <= total_memory()
    assert 1 <= cpu_count() <= 8


def test_planted_fault_without_cgroups_the_limit_is_missed(tmp_path: Path) -> None:
    """The check on version 2 can fail: hide the group's membership, and its limit goes unseen."""
    test_version_2_counts_the_tightest_of_all_levels(tmp_path)
    (tmp_path / "proc/self/cgroup").write_text("")
    assert available_memory(tmp_path) == 512 * MIB
