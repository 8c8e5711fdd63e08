"""Graphs of every precision run on this CPU, and nothing of it stays behind."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest

from lqhq.export.emulated import emulated_session
from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.errors import EngineError
from lqhq.runtime.parity import measure

FEED = {
    "state": np.random.default_rng(2).uniform(-1, 1, (1, 3, 8, 12)).astype(np.float32),
    "t": np.float32([0.5]),
}
WORST = {"fp32": (200.0, 300.0), "fp16": (75.5, 110.0), "bf16": (35.0, 75.0)}  # dB, least and most


@pytest.fixture(scope="module", autouse=True)
def _exported_before(exported) -> None:
    """An export takes longer than a test may; it belongs to the set-up."""
    exported("film-half")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where temporary files go."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp"


@pytest.mark.parametrize("precision", WORST)
def test_each_precision_errs_by_its_own_rounding(exported, folder, precision):
    bundle = open_bundle(exported("film-half"))
    with emulated_session(bundle.graph("denoise", "fp32").path, "fp32", threads=1) as session:
        wanted = session.run(FEED)["pred"]
    with emulated_session(bundle.graph("denoise", precision).path, precision, threads=1) as session:
        found = session.run(FEED)["pred"]
    assert found.dtype == np.float32
    least, most = WORST[precision]
    psnr = measure(found, wanted, peak=2).psnr
    assert least <= (250 if psnr is None else psnr) <= most
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_nothing_stays_behind_after_an_error(exported, folder, precision):
    bundle = open_bundle(exported("film-half"))
    file = bundle.graph("denoise", precision).path
    with pytest.raises(ZeroDivisionError), emulated_session(file, precision, threads=1):
        raise ZeroDivisionError
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_file_that_is_no_graph_is_an_engine_error(folder, tmp_path, precision):
    (tmp_path / "g.onnx").write_bytes(b"no graph")
    with pytest.raises(EngineError), emulated_session(tmp_path / "g.onnx", precision, threads=1):
        pass
    assert list(folder.iterdir()) == []
