"""The settings beside the results."""

from __future__ import annotations

import json

import msgspec
import pytest

from lqhq.runtime.errors import OptionError
from lqhq.runtime.synthesis.settings import SETTINGS, Settings, read_settings, require_same, versions, write_settings

OTHERS = {
    "bundle": "ef" * 32,
    "seed": 1,
    "count": 3,
    "strength": (0.1, 0.25),
    "degradation": "none",
    "degradation_sha256": "ef" * 32,
    "scale": 2,
    "channel_order": "bgr",
    "with_hq": True,
    "shard_bytes": 10**6,
    "memory": 10**8,
    "precision": "fp16",
    "threads": 2,
    "inputs": "ef" * 32,
    "versions": {"lqhq": "1"},
}


def test_they_come_back(tmp_path, recipe):
    settings = recipe().settings
    assert read_settings(tmp_path) is None
    write_settings(tmp_path, settings)
    assert read_settings(tmp_path) == settings
    require_same(settings, settings, tmp_path)


def test_every_setting_has_another_value_here():
    assert set(OTHERS) == set(Settings.__struct_fields__) - {"format", "version"}


@pytest.mark.parametrize("field", OTHERS)
def test_another_value_is_refused_by_name(tmp_path, recipe, field):
    settings = recipe().settings
    other = msgspec.structs.replace(settings, **{field: OTHERS[field]})
    with pytest.raises(OptionError, match=f"found pairs made with {field} "):
        require_same(other, settings, tmp_path)


@pytest.mark.parametrize(
    "change", [{"format": "zip"}, {"version": 2}, {"seed": "x"}, {"more": 1}, {"channel_order": "rbg"}, {"count": 0}]
)
def test_what_is_not_ours_is_refused(tmp_path, recipe, change):
    write_settings(tmp_path, recipe().settings)
    path = tmp_path / SETTINGS
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(OptionError, match="the settings of an earlier run"):
        read_settings(tmp_path)


def test_half_a_file_is_refused(tmp_path, recipe):
    write_settings(tmp_path, recipe().settings)
    (tmp_path / SETTINGS).write_bytes((tmp_path / SETTINGS).read_bytes()[:50])
    with pytest.raises(OptionError, match="cannot be continued"):
        read_settings(tmp_path)


def test_versions_are_those_installed():
    assert set(versions()) == {"lqhq", "numpy", "onnxruntime", "pyvips"}
    assert all(versions().values())
