"""Who may write into a folder, and when."""

from __future__ import annotations

import os

import msgspec
import pytest

from lqhq.runtime.errors import ImageError, OptionError
from lqhq.runtime.synthesis.output_folder import PREVIEW, output_folder
from lqhq.runtime.synthesis.settings import SETTINGS
from lqhq.runtime.synthesis.whole_file import TEMPORARY


def test_new_then_resumed(tmp_path, recipe):
    out, settings = tmp_path / "deep/out", recipe().settings
    with output_folder(out, settings, resume=False) as resumed:
        assert not resumed
    (out / TEMPORARY).touch()  # of a run that was killed
    with output_folder(out, settings, resume=True) as resumed:
        assert resumed
    assert os.listdir(out) == [SETTINGS]


def test_resume_of_nothing_begins(tmp_path, recipe):
    with output_folder(tmp_path / "out", recipe().settings, resume=True) as resumed:
        assert not resumed


def test_results_are_not_taken_up_without_being_asked(tmp_path, recipe):
    with output_folder(tmp_path / "out", recipe().settings, resume=False):
        pass
    with (
        pytest.raises(OptionError, match="Continue it with --resume"),
        output_folder(tmp_path / "out", recipe().settings, resume=False),
    ):
        pass


def test_other_settings_are_refused(tmp_path, recipe):
    settings = recipe().settings
    with output_folder(tmp_path / "out", settings, resume=False):
        pass
    other = msgspec.structs.replace(settings, seed=1)
    with pytest.raises(OptionError, match="made with seed"), output_folder(tmp_path / "out", other, resume=True):
        pass


@pytest.mark.parametrize("resume", [False, True])
def test_what_is_not_ours_is_not_touched(tmp_path, recipe, resume):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/lq").touch()
    with (
        pytest.raises(OptionError, match=r"1 things .* such as 'lq'"),
        output_folder(tmp_path / "out", recipe().settings, resume=resume),
    ):
        pass
    assert os.listdir(tmp_path / "out") == ["lq"]


def test_a_preview_may_be_there(tmp_path, recipe):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / PREVIEW).touch()
    with output_folder(tmp_path / "out", recipe().settings, resume=False) as resumed:
        assert not resumed


def test_one_run_at_a_time(tmp_path, recipe):
    settings = recipe().settings
    with (
        output_folder(tmp_path / "out", settings, resume=False),
        pytest.raises(OptionError, match="another run"),
        output_folder(tmp_path / "out", settings, resume=True),
    ):
        pass
    with output_folder(tmp_path / "out", settings, resume=True):
        pass


def test_a_place_that_cannot_be(tmp_path, recipe):
    (tmp_path / "file").touch()
    with (
        pytest.raises(ImageError, match="to write there"),
        output_folder(tmp_path / "file", recipe().settings, resume=False),
    ):
        pass
