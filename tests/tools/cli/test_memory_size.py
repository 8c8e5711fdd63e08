"""Sizes as people write them."""

from __future__ import annotations

import argparse

import pytest

from lqhq.tools.cli.memory_size import memory_size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("800M", 800_000_000),
        ("1.5G", 1_500_000_000),
        ("4GiB", 4 << 30),
        ("512", 512),
        ("2 kb", 2000),
        ("1k", 1000),
        ("1T", 10**12),
        ("1.5TB", 1_500_000_000_000),
        ("2tib", 2 << 40),
        ("0.5M", 500_000),
    ],
)
def test_sizes(text, expected):
    assert memory_size(text) == expected


@pytest.mark.parametrize(
    "text", ["", "lots", "-1M", "0", "0.5", "1P", "1I", "1e9", "1.5.2G", "٣G", "9" * 500, "9" * 5000 + "G"]
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="800M"):
        memory_size(text)
