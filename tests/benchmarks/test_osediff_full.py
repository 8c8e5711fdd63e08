"""The page says what was measured; what differs from PyTorch, or was not built, cannot pass unseen."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import osediff_full
import pytest
import torch
from contenders import osediff_engines
from contenders.osediff_checkpoint import TINY
from contenders.osediff_folder import Exported, OseDiffFolder
from contenders.osediff_image import Took
from contenders.osediff_macs import stage_macs
from contenders.osediff_plain import blended, ramp
from measuring.contest import Outcome

from lqhq.runtime.window import axis_weights

SEED = 20_261_127
RECORD = {"seconds": 31.6, "state": "verified", "parsed": {"layers": {"convolution": {"float16": 36, "float32": 0}}}}


def _image(folder: Path, changed: int, by: int) -> None:
    levels = np.random.default_rng(SEED).integers(0, 250, (32, 32, 3)).astype(np.uint8)
    other = levels.copy()
    other.reshape(-1)[:changed] += by
    took = Took(seconds=12.4, loading=3, peak=5_000_000_000, tile=80, starts=(0, 48), overlap=32, how="as planned")
    for name, array in (("ours-8", levels), ("plain-8", other)):
        np.save(folder / f"{name}.npy", array)
        (folder / f"{name}.json").write_bytes(msgspec.json.encode(took))


def test_an_image_is_told(tmp_path: Path) -> None:
    _image(tmp_path, 3, 1)
    row = osediff_full.image_row(tmp_path, 8)
    assert len(row) == len(osediff_full.IMAGES)
    assert row == ("8x8 to 32x32", "4 of 80 latents", "12", "12", "5.0", "5.0", "0.0977%", 1, "as planned")


@pytest.mark.parametrize(("changed", "by"), [(1, 3), (100, 1)])
def test_an_image_that_differs_ends_the_run(tmp_path: Path, changed: int, by: int) -> None:
    """The planted faults: one level by three, and every thirtieth by one."""
    _image(tmp_path, changed, by)
    with pytest.raises(SystemExit, match="of levels differ"):
        osediff_full.image_row(tmp_path, 8)


def _race(wrong: float = 0.0) -> list[Outcome]:
    answer = np.linspace(-2, 2, 8)
    ours = Outcome(name="lqhq", seconds=[2.0, 4.0, 3.0], peak=2_000_000_000, answer=answer + wrong)
    return [ours, Outcome(name="PyTorch eager", seconds=[4.0, 8.0, 6.0], peak=3_000_000_000, answer=answer)]


def test_stages_have_their_share_of_time_and_of_work() -> None:
    rows = osediff_full.stage_rows({"encode": _race(), "decode": _race()}, {"encode": 30 * 10**9, "decode": 90 * 10**9})
    assert {len(row) for row in rows} == {len(osediff_full.SHARES)}
    assert rows[1] == ("decode", "3.00", "2.00 [2.00, 2.00]", "2.00", "3.00", "0.0e+00", "90", "75%", "50%", "30")
    assert rows[2] == ("all", "6.00", "-", "-", "-", "-", "120", "100%", "100%", "20")


def test_a_stage_that_differs_ends_the_run() -> None:
    """The planted fault: 0.2 % of the largest value."""
    with pytest.raises(SystemExit, match=r"encode: lqhq is 0\.002"):
        osediff_full.stage_rows({"encode": _race(wrong=4e-3)}, {"encode": 1})


@pytest.mark.parametrize(
    ("seconds", "peak", "met"), [(900, 9_000_000_000, True), (1300, 9_000_000_000, False), (900, 12_100_000_000, False)]
)
def test_the_bars_of_the_export(tmp_path: Path, seconds: float, peak: int, met: bool) -> None:
    where = OseDiffFolder(tmp_path)
    where.bundle.mkdir()
    (where.bundle / "graph").write_bytes(bytes(1000))
    where.keep(Exported(seconds=seconds, peak=peak, day="2026-01-31"))
    text = osediff_full.export_text(where.record(), False, where.bundle)
    assert text.endswith(": met." if met else ": not met.")
    assert "in a run of 2026-01-31" in text
    assert "in this run" in osediff_full.export_text(where.record(), True, where.bundle)


def test_what_is_kept_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(module: str, *words: object) -> None:
        raise AssertionError(f"{module} was started")

    monkeypatch.setattr(osediff_full, "child", refused)
    where = OseDiffFolder(tmp_path)
    where.adapter.touch()
    with pytest.raises(AssertionError, match="command_line was started"):
        osediff_full.prepare(where, tmp_path, "TINY")
    where.bundle.mkdir()
    where.keep(Exported(seconds=1, peak=1, day="2026-01-31"))
    assert not osediff_full.prepare(where, tmp_path, "TINY")


def test_an_engine_is_told() -> None:
    built = osediff_engines.Engine("denoise", ("768x768",), 6_900_000_000, 1_700_000_000, RECORD)
    row = osediff_engines.engine_row(built)
    assert len(row) == len(osediff_engines.COLUMNS)
    assert row == ("denoise", "768x768", "32", "6.9", "1700", "verified", "36 convolution float16")


def test_an_engine_that_was_not_built_says_why() -> None:
    row = osediff_engines.engine_row(osediff_engines.Engine("decode", ("768x768",), failure="exit code 1:\n no | more"))
    assert len(row) == len(osediff_engines.COLUMNS)
    assert "failed: exit code 1: no / more" in row


@pytest.mark.slow
def test_multiplications_are_counted() -> None:
    """Twice the side: four times the products of the convolutions, sixteen times those of the VAE's attention."""
    small, large = stage_macs(TINY, 8), stage_macs(TINY, 16)
    assert small["text"] == large["text"]
    assert 4 <= large["decode"] / small["decode"] < 6
    assert list(small) == ["text", "encode", "denoise", "decode"]


@pytest.mark.parametrize(("length", "tile", "starts", "overlap"), [(128, 80, (0, 48), 32), (64, 64, (0,), 0)])
def test_windows_written_down_twice_are_the_same(length: int, tile: int, starts: tuple[int, ...], overlap: int) -> None:
    raw = torch.stack([ramp(length, tile, start, overlap) for start in starts])
    total = torch.zeros(length, dtype=torch.float64)
    for start, weights in zip(starts, raw, strict=True):
        total[start : start + tile] += weights
    ours = axis_weights(length, tile, overlap, starts)
    for index, start in enumerate(starts):
        np.testing.assert_allclose(ours[index], raw[index] / total[start : start + tile], atol=1e-6)


def test_tiles_that_agree_are_blended_to_the_whole() -> None:
    state = torch.randn(1, 4, 128, 128, generator=torch.Generator().manual_seed(SEED))
    found = blended(lambda part: 2 * part, state, 80, (0, 48), 32)
    assert torch.allclose(found, 2 * state, atol=1e-6)
