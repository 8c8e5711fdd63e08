"""`NAME=steps:5,noise:brownian` on the command line."""

from __future__ import annotations

import argparse

import pytest

from lqhq.tools.cli.schedule_text import schedule_text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("fast=steps:1", ("fast", {"steps": 1})),
        ("a=steps:5,noise:brownian,eps:0.01", ("a", {"steps": 5, "noise": "brownian", "eps": 0.01})),
        ("a.b-1=grid:1/0.5/0,noise:none", ("a.b-1", {"grid": [1.0, 0.5, 0.0], "noise": "none"})),
        ("a=steps:2,clip:1", ("a", {"steps": 2, "clip": 1.0})),
        ("a=steps:2,clip:none", ("a", {"steps": 2, "clip": "none"})),
    ],
)
def test_what_it_reads(text, wanted):
    assert schedule_text(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "fast",
        "fast=",
        "=steps:1",
        "Fast=steps:1",
        "a=steps",
        "a=step:1",
        "a=steps:x",
        "a=steps:1,steps:2",
        "a=grid:1/b",
        "a=eps:none",
    ],
)
def test_what_it_refuses(text):
    with pytest.raises(argparse.ArgumentTypeError, match="steps:5"):
        schedule_text(text)
