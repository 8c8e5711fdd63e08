"""A folder with an OSEDiff checkpoint of random weights, its bundle, and what a benchmark keeps beside them.

python -m contenders.osediff_folder FOLDER SIZE     writes the checkpoint, FULL or TINY, in a process of its own
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

__all__ = ["MADE", "Exported", "OseDiffFolder"]

MADE = "contenders.osediff_folder"


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What an export took; `day` is when, as 2026-01-31."""

    seconds: float
    peak: int
    day: str


class OseDiffFolder:
    """Where everything lies in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.adapter, self.base = folder / "osediff.pkl", folder / "base"
        self.bundle, self.exported = folder / "bundle", folder / "export.json"
        self.merged = folder / "merged"  # PyTorch's weights with the adapter merged in, for contenders of one stage

    def record(self) -> Exported:
        """Of the export that made the bundle."""
        return msgspec.json.decode(self.exported.read_bytes(), type=Exported)

    def keep(self, exported: Exported) -> None:
        self.exported.write_bytes(msgspec.json.encode(exported))


def _write(folder: Path, size: str) -> None:
    from contenders import osediff_checkpoint

    sizes: osediff_checkpoint.Sizes = getattr(osediff_checkpoint, size)
    where = OseDiffFolder(folder)
    osediff_checkpoint.write_base(where.base, sizes)
    osediff_checkpoint.write_adapter(where.adapter, where.base, sizes)


if __name__ == "__main__":
    _write(Path(sys.argv[1]), sys.argv[2])
