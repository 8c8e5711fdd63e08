"""Sizes as people write them."""

from __future__ import annotations

import pytest

from lqhq.runtime.byte_size import byte_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("800M", 800_000_000), ("1.5G", 1_500_000_000), ("4GiB", 4 << 30), (" 2 kb ", 2000), ("1TB", 10**12)],
)
def test_sizes(text: str, size: int) -> None:
    assert byte_size(text) == size


@pytest.mark.parametrize("text", ["", "0", "0.2", "-1", "1e9", "M", "1X", "1 G i", "9" * 16, "٣M", "1.M", "nan"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="write it like"):
        byte_size(text)
