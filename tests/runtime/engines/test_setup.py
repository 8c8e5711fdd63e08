"""Names of devices."""

from __future__ import annotations

import pytest

from lqhq.runtime.engines.setup import Setup, parse_device
from lqhq.runtime.errors import OptionError


@pytest.mark.parametrize(
    ("text", "kind", "ordinal"),
    [("cpu", "cpu", 0), ("auto", "auto", 0), ("cuda", "cuda", 0), ("cuda:0", "cuda", 0), ("cuda:12", "cuda", 12)],
)
def test_devices(text, kind, ordinal):
    assert parse_device(text) == (kind, ordinal)


def test_a_device_is_written_as_torch_writes_it():
    assert [str(parse_device(text)) for text in ("cpu", "cuda", "cuda:2", "auto")] == [
        "cpu",
        "cuda:0",
        "cuda:2",
        "auto",
    ]


@pytest.mark.parametrize("text", ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU", "cuda:123", " cpu", "cpu\n"])
def test_other_names_are_refused(text):
    with pytest.raises(OptionError, match="device"):
        parse_device(text)


def test_a_setup_says_nothing_by_itself(capsys):
    Setup().say("a line")
    assert capsys.readouterr() == ("", "")
