"""What is checked in is what the protos make."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lqhq.tools import make_protos
from lqhq.tools.make_protos import FOLDER, PINNED, ROOT, installed, main, make, pooled

pinned = pytest.mark.skipif(installed() != PINNED, reason=f"needs grpcio-tools {PINNED}, the one that made the code")


@pinned
def test_checked_in_code_is_what_the_protos_make() -> None:
    made = make(ROOT)
    assert len(made) == 8
    assert {name: (ROOT / FOLDER / name).read_text() for name in made} == made


@pinned
def test_planted_field_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(ROOT / FOLDER, tmp_path / FOLDER)
    proto = tmp_path / FOLDER / "lqhq_v1.proto"
    proto.write_text(proto.read_text().replace("uint64 seed = 2;", "uint64 seed = 9;"))
    monkeypatch.setattr(make_protos, "ROOT", tmp_path)
    assert main(["--check"]) == 1
    assert capsys.readouterr().out.split() == [f"{FOLDER}/lqhq_v1_pb2.py", "differs"]
    assert main([]) == 0
    assert main(["--check"]) == 0


@pinned
def test_broken_proto_says_where(tmp_path: Path) -> None:
    shutil.copytree(ROOT / FOLDER, tmp_path / FOLDER)
    (tmp_path / FOLDER / "lqhq_v1.proto").write_text("message")
    with pytest.raises(RuntimeError, match=r"lqhq_v1\.proto:1"):
        make(tmp_path)


def test_other_compiler_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(make_protos, "installed", lambda: None)
    assert main([]) == 1
    assert f"pip install grpcio-tools=={PINNED}" in capsys.readouterr().out


def test_code_with_another_shape_is_refused() -> None:
    """A compiler that puts messages elsewhere must not pass for one that obeyed."""
    with pytest.raises(RuntimeError, match="0 times; expected once"):
        pooled("x_pb2.py", "DESCRIPTOR = None")
