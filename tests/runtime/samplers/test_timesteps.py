"""Timestep arithmetic: worked examples, properties, refusals."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lqhq.runtime.errors import OptionError
from lqhq.runtime.samplers.timesteps import (
    multistep_timesteps,
    respaced_timesteps,
    spaced_timesteps,
    steps_from_strength,
)

SPACINGS = st.sampled_from(["leading", "linspace", "trailing"])


def test_fifty_steps_mean_four_things():
    assert spaced_timesteps(steps=50)[-3:] == (40, 20, 0)
    assert multistep_timesteps(steps=50, spacing="leading")[:2] == (950, 931)
    assert multistep_timesteps(steps=50, spacing="linspace")[:2] == (999, 979)
    assert respaced_timesteps(respacing="50")[:3] == (0, 20, 41)
    assert respaced_timesteps(respacing="ddim50")[-1] == 980


def test_offset_moves_leading_only():
    assert spaced_timesteps(steps=10, offset=1)[-1] == 1
    assert spaced_timesteps(steps=10, spacing="trailing", offset=1)[-1] == 99


@settings(deadline=None)
@given(train=st.integers(2, 1200), data=st.data(), spacing=SPACINGS)
def test_timesteps_fall_within_the_trained_range(train, data, spacing):
    steps = data.draw(st.integers(1, train))
    for times in (
        spaced_timesteps(steps=steps, spacing=spacing, train_steps=train),
        multistep_timesteps(steps=steps, spacing=spacing, train_steps=train),
    ):
        assert len(times) == steps
        assert 0 <= times[-1] <= times[0] < train
        assert list(times) == sorted(times, reverse=True)


@settings(deadline=None)
@given(counts=st.lists(st.integers(1, 60), min_size=1, max_size=5), train=st.integers(300, 1200))
def test_respacing_keeps_distinct_rising_timesteps(counts, train):
    times = respaced_timesteps(respacing=",".join(map(str, counts)), train_steps=train)
    assert len(times) == sum(counts)
    assert all(a < b for a, b in itertools.pairwise(times))
    assert times[0] == 0
    assert times[-1] < train


@pytest.mark.parametrize(
    ("steps", "strength", "calls"),
    [(50, 0.25, 12), (50, 0.29, 14), (100, 0.29, 28), (50, 0.02, 1), (50, 1.0, 50)],
)
def test_strength_truncates_the_double_product(steps, strength, calls):
    assert steps_from_strength(steps=steps, strength=strength) == calls


@pytest.mark.parametrize("strength", [0.0, -0.1, 1.01, 0.019, float("nan")])
def test_strength_that_leaves_no_step_is_refused(strength):
    with pytest.raises(OptionError, match=r"0\.02 or more"):
        steps_from_strength(steps=50, strength=strength)


@pytest.mark.parametrize(
    "make",
    [
        lambda: spaced_timesteps(steps=0),
        lambda: spaced_timesteps(steps=1001),
        lambda: spaced_timesteps(steps=10, spacing="karras"),
        lambda: spaced_timesteps(steps=10, offset=200),
        lambda: spaced_timesteps(steps=10, offset=-1),
        lambda: multistep_timesteps(steps=0),
        lambda: multistep_timesteps(steps=10, spacing="karras"),
    ],
)
def test_impossible_timesteps_are_refused(make):
    with pytest.raises(OptionError, match="expected"):
        make()
