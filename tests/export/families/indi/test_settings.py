"""What InDI needs and its weights cannot say: required, never guessed."""

from __future__ import annotations

import pytest

from lqhq.export.families.indi.settings import require, sampling
from lqhq.export.settings import Sampling, Settings
from lqhq.runtime.errors import CheckpointError, OptionError

FAST = {"fast": Sampling(steps=1)}


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        (Settings(schedules=FAST), "time_scale"),
        (Settings(time_scale=1.0), "schedules"),
        (Settings(time_scale=1.0, schedules=FAST, scale=4), "resize"),
        (Settings(time_scale=1.0, schedules=FAST, default_schedule="slow"), "default_schedule"),
    ],
)
def test_what_nobody_gave_is_asked_for_by_name(settings, key):
    with pytest.raises(CheckpointError, match=f"^{key}: ") as caught:
        require(settings)
    assert key in caught.value.mend


def test_a_resize_without_a_scale_is_refused():
    with pytest.raises(OptionError, match="scale is 1"):
        require(Settings(time_scale=1.0, schedules=FAST, resize="bicubic"))


def test_schedules_take_eps_and_the_clamp_from_the_file_where_they_are_silent():
    file = Settings(eps=0.02, clip_denoised=True)
    assert sampling("a", Sampling(steps=2, noise="const"), file) == Sampling(steps=2, noise="const", eps=0.02, clip=1.0)
    own = sampling("a", Sampling(steps=2, noise="const", eps=0.5, clip="none"), file)
    assert (own.eps, own.bound) == (0.5, None)
    assert sampling("a", Sampling(steps=2, noise="renoise"), file).bound is None
    assert sampling("a", Sampling(steps=2, noise="none"), file).eps == 0.0


def test_the_noise_rule_and_its_size_are_not_guessed():
    with pytest.raises(CheckpointError, match=r"schedules\.a\.noise"):
        sampling("a", Sampling(steps=2), Settings(eps=0.01))
    with pytest.raises(CheckpointError, match=r"schedules\.a\.eps"):
        sampling("a", Sampling(steps=2, noise="const"), Settings())
    assert sampling("a", Sampling(steps=2), Settings()).noise == "none"
