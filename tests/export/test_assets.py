"""Papers beside a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from lqhq.export.assets import MAX_BYTES, copy_papers


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("checkpoint", "bundle"):
        (tmp_path / name).mkdir()
    return tmp_path / "checkpoint", tmp_path / "bundle"


def test_papers_are_copied_and_nothing_else(folders):
    checkpoint, bundle = folders
    for name in ("LICENCE.md", "MODEL_CARD.md", "README", "notes.md", "model.safetensors"):
        (checkpoint / name).write_text(name)
    assert copy_papers(checkpoint, bundle) == ("LICENCE.md", "MODEL_CARD.md", "README")
    assert sorted(p.name for p in (bundle / "assets").iterdir()) == ["LICENCE.md", "MODEL_CARD.md", "README"]
    assert (bundle / "assets" / "README").read_text() == "README"


def test_links_and_large_files_are_left_out(folders):
    checkpoint, bundle = folders
    (checkpoint / "README.md").symlink_to("/etc/hostname")
    (checkpoint / "NOTICE").write_bytes(b"x" * (MAX_BYTES + 1))
    assert copy_papers(checkpoint, bundle) == ()
    assert not (bundle / "assets").exists()


def test_a_single_file_has_no_papers(folders):
    checkpoint, bundle = folders
    (checkpoint / "LICENSE").write_text("x")
    (checkpoint / "model.pt").write_text("x")
    assert copy_papers(checkpoint / "model.pt", bundle) == ()
