"""A worker opens the bundle that was meant, checked, or none."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from lqhq.runtime.bundle import open_bundle
from lqhq.runtime.bundle_sessions import close_sessions
from lqhq.runtime.engine_shapes import EngineShapes
from lqhq.runtime.errors import BundleError, EngineError, OptionError
from lqhq.runtime.parity import Case, Measure, Report
from lqhq.server.workers import loading
from lqhq.server.workers.loading import open_model
from lqhq.server.workers.opening import Opening


def opening(folder: Path, **fields: Any) -> Opening:
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    return Opening(**{"path": str(folder), "sha256": digest, "threads": 1, "device": "cpu"} | fields)


def test_a_bundle_is_checked_and_opened() -> None:
    loaded = open_model(opening(open_bundle("demo").folder))
    opened = loaded.opened
    assert (opened.precision, opened.device, opened.shapes) == ("fp32", "cpu", EngineShapes())
    assert opened.engine_version[0].isdigit()
    assert opened.checked is not None
    assert opened.checked.passed
    assert opened.checked.cases > 1
    assert "parity holds" in opened.checked.lines[-1]
    assert 0 < opened.checked.seconds < opened.seconds
    close_sessions(loaded.sessions)


def test_a_check_that_fails_is_an_error_with_the_worst_case(monkeypatch: pytest.MonkeyPatch) -> None:
    def case(name: str, off: float, passed: bool) -> Case:
        measure = Measure(max_abs=off, p99_9=off, changed=1.0, psnr=20.0, ssim=None, nan_count=0)
        return Case(what="denoise", case=name, measure=measure, tolerance=1e-5, passed=passed)

    cases = (case("good", 1e-6, True), case("bad", 1e-3, False), case("worst", 0.5, False))
    monkeypatch.setattr(loading, "replay", lambda *_, **__: Report(cases=cases))
    monkeypatch.setattr(loading, "open_sessions", lambda *_, **__: pytest.fail("it was opened all the same"))
    with pytest.raises(EngineError, match=r"worst: off by 5\.00e-01, 2 of 3 fail"):
        open_model(opening(open_bundle("demo").folder))


def test_another_manifest_is_refused(tiny_bundle: Any) -> None:
    folder = tiny_bundle()
    meant = opening(folder, check=False)
    close_sessions(open_model(meant).sessions)
    (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes() + b"\n")
    with pytest.raises(BundleError, match="was replaced meanwhile"):
        open_model(meant)


def test_what_was_opened_is_not_checked_again_where_nobody_asks(tiny_bundle: Any) -> None:
    folder = tiny_bundle()
    assert open_model(opening(folder, check=False)).opened.checked is None
    with pytest.raises(BundleError, match="golden"):
        open_model(opening(folder, check=True))


@pytest.mark.parametrize("wrong", [{"engine": "none"}, {"precision": "fp16"}, {"device": "tpu"}])
def test_options_that_cannot_be(tiny_bundle: Any, wrong: dict[str, str]) -> None:
    with pytest.raises(OptionError):
        open_model(opening(tiny_bundle(), check=False, **wrong))
