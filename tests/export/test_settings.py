"""What the weights cannot say: checked, and never given twice with two values."""

from __future__ import annotations

import pytest

from lqhq.export.settings import Sampling, Settings, join, merge_config, split_config
from lqhq.runtime.errors import CheckpointError, OptionError

FAST = {"fast": Sampling(steps=1)}


def test_a_config_splits_into_ours_and_the_networks():
    settings, rest = split_config({"time_scale": 2, "num_heads": 4, "schedules": {"a": {"grid": [1, 0.5, 0]}}})
    assert settings.time_scale == 2.0
    assert settings.schedules == {"a": Sampling(grid=(1.0, 0.5, 0.0))}
    assert rest == {"num_heads": 4}


@pytest.mark.parametrize(
    "config",
    [
        {"time_scale": "1"},
        {"time_scale": 0},
        {"schedules": {}},
        {"schedules": {"a": {"step": 5}}},
        {"schedules": {"a": {"steps": 0}}},
        {"schedules": {"a": {"steps": 5, "noise": "some"}}},
        {"scale": 17},
        {"name": "Not A Name"},
        {"licences": [{"part": "base"}]},
    ],
)
def test_wrong_values_of_our_keys_are_errors(config):
    with pytest.raises(CheckpointError, match="lqhq's keys"):
        split_config(config)


def test_values_given_twice_must_agree():
    file, flags = Settings(time_scale=1.0, schedules=FAST), Settings(time_scale=1.0, scale=2)
    assert join(file, flags) == Settings(time_scale=1.0, scale=2, schedules=FAST)
    with pytest.raises(OptionError, match="--time-scale"):
        join(file, Settings(time_scale=1000.0))
    with pytest.raises(OptionError, match="--schedule fast"):
        join(file, Settings(schedules={"fast": Sampling(steps=2)}))
    more = join(file, Settings(schedules={"slow": Sampling(steps=9)}))
    assert list(more.schedules or ()) == ["fast", "slow"]
    with pytest.raises(CheckpointError, match="--config: fold"):
        merge_config({"fold": 4}, {"fold": 2})
    assert merge_config({"fold": 4}, {"fold": 4, "width": 1}) == {"fold": 4, "width": 1}


def test_schedules_of_two_configs_are_joined_by_name():
    merged = merge_config({"schedules": {"a": {"steps": 1}}}, {"schedules": {"a": {"steps": 1}, "b": {"steps": 2}}})
    assert merged == {"schedules": {"a": {"steps": 1}, "b": {"steps": 2}}}
    with pytest.raises(CheckpointError, match="--config: a"):
        merge_config({"schedules": {"a": {"steps": 1}}}, {"schedules": {"a": {"steps": 2}}})
