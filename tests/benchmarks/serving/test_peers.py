"""The forms in which servers are tried; environments are made once, and again when what they hold has changed."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from serving import peers
from serving.peers import make_environments, variants_of


@pytest.mark.parametrize("name", ["lqhq", "mlserver", "litserve"])
def test_every_variant_uses_every_core(name: str) -> None:
    for cores in (1, 2, 4):
        found = variants_of(name, cores)
        assert len(set(found)) == len(found)
        assert {max(1, one.workers) * one.threads for one in found} == {cores}


def test_mlserver_is_tried_without_workers_too() -> None:
    assert 0 in {one.workers for one in variants_of("mlserver", 2)}
    assert {one.form for one in variants_of("litserve", 2)} == {"upload", "json"}


def test_an_environment_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[Sequence[str]] = []

    def run(command: Sequence[str], **_: object) -> SimpleNamespace:
        ran.append(command)
        Path(tmp_path, "mlserver").mkdir(exist_ok=True)
        Path(tmp_path, "litserve").mkdir(exist_ok=True)
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    assert make_environments(tmp_path) == {name: tmp_path / name for name in ("mlserver", "litserve")}
    assert "mlserver==1.7.1" in ran[1]
    assert any(word.startswith("onnxruntime==") for word in ran[1])
    make_environments(tmp_path)
    assert len(ran) == 4, "they are there"
    monkeypatch.setitem(peers.PACKAGES, "mlserver", ("mlserver==9",))
    make_environments(tmp_path)
    assert len(ran) == 6, "the packages have changed"


def test_a_failed_installation_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(returncode=1, stderr="no such package"))
    with pytest.raises(SystemExit, match=r"mlserver: .*no such package"):
        make_environments(tmp_path)
    assert not (tmp_path / "mlserver/made").exists()
