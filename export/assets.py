"""Papers that travel with weights: licence, card and notices beside a checkpoint go into the bundle's `assets/`."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["PAPERS", "copy_papers"]

PAPERS = ("LICENCE", "LICENSE", "MODEL_CARD", "NOTICE", "README")
SUFFIXES = ("", ".md", ".txt")
MAX_BYTES = 1 << 20  # of a text for people; larger is something else


def copy_papers(checkpoint: Path, bundle: Path) -> tuple[str, ...]:
    """Copy the papers of a checkpoint folder into `bundle/assets`; the names that were taken.

    A checkpoint that is a single file has none: what lies in its folder may belong to anything.
    """
    if not checkpoint.is_dir():
        return ()
    names = [f"{stem}{suffix}" for stem in PAPERS for suffix in SUFFIXES]
    taken = [name for name in names if _is_paper(checkpoint / name)]
    if taken:
        (bundle / "assets").mkdir()
    for name in taken:
        shutil.copyfile(checkpoint / name, bundle / "assets" / name)
    return tuple(taken)


def _is_paper(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_BYTES
