"""A process and its descendants, as /proc tells of them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

__all__ = ["descendants", "tree_memory"]


def descendants(root: int) -> list[int]:
    """Ids of all processes below `root`, itself left out; those that end meanwhile are left out too."""
    children: dict[int, list[int]] = defaultdict(list)
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            parent = _parent(folder)
            if parent is not None:
                children[parent].append(int(folder.name))
    found, open_ = list[int](), [root]
    while open_:
        below = children[open_.pop()]
        found += below
        open_ += below
    return found


def _parent(folder: Path) -> int | None:
    try:
        text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name in brackets may hold anything, brackets too: fields are counted from the last one (proc(5)).
    state, parent = text.rpartition(")")[2].split()[:2]
    return None if state == "Z" else int(parent)


def tree_memory(root: int) -> int:
    """Bytes of memory that `root` and its descendants hold: proportional set size, so shared pages count once."""
    return sum(_pss(process) for process in (root, *descendants(root)))


def _pss(process: int) -> int:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)
