"""Configs that a checkpoint carries or a user gives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lqhq.export.config_file import read_json_object
from lqhq.runtime.errors import CheckpointError


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_an_object_is_read_with_or_without_a_byte_order_mark(tmp_path, mark):
    (tmp_path / "c.json").write_bytes(mark + b'{"a": [1, 2.5, {"b": null}]}')
    assert read_json_object(tmp_path / "c.json") == {"a": [1, 2.5, {"b": None}]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1]", "list"),
        ("{", "not JSON"),
        ("\xff", "not JSON"),
        ("[" * 100_000, "nested too deep"),
        ('"' + "x" * (1 << 20) + '"', "bytes of JSON"),
        ('{"time_scale": 1, "time_scale": 1000}', "'time_scale' twice"),
        ('{"schedules": {"a": {"steps": 1}, "a": {"steps": 2}}}', "'a' twice"),
        ('{"eps": NaN}', "NaN"),
    ],
)
def test_what_is_no_small_plain_object_is_refused(tmp_path, text, words):
    (tmp_path / "c.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=words) as caught:
        read_json_object(tmp_path / "c.json")
    assert caught.value.where == str(tmp_path / "c.json")


def test_pipes_folders_and_names_that_lead_nowhere(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(CheckpointError, match="no regular file"):
            read_json_object(path)
    with pytest.raises(CheckpointError, match="No such file"):
        read_json_object(tmp_path / "absent.json")
    with pytest.raises(CheckpointError, match="too long"):
        read_json_object(tmp_path / ("x" * 300))
