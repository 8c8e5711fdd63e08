"""The flags that say where a server is."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from lqhq.runtime.errors import OptionError
from lqhq.tools.cli.client_flags import add_client_flags, model_version, open_client, seconds


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_client_flags(parser, timeout_s=None, tries=3)
    return parser.parse_args(words)


def test_defaults() -> None:
    args = parsed()
    assert (args.address, args.tls, args.timeout, args.tries) == ("127.0.0.1:8001", False, None, 3)
    open_client(args)
    open_client(args, tries=1)


def test_models_and_times() -> None:
    assert model_version("demo") == ("demo", 0)
    assert model_version("demo:12") == ("demo", 12)
    assert seconds("2.5") == 2.5
    for wrong in ("demo:", "demo:0", "demo:x", "a:1:2"):
        with pytest.raises(argparse.ArgumentTypeError):
            model_version(wrong)
    for wrong in ("0", "-1", "nan", "inf", "soon"):
        with pytest.raises(argparse.ArgumentTypeError):
            seconds(wrong)


@pytest.mark.parametrize("text", ["", "# nothing\n\n", "two words\n"])
def test_a_file_without_a_token(tmp_path: Path, text: str) -> None:
    (tmp_path / "token").write_text(text)
    with pytest.raises(OptionError, match="token"):
        open_client(parsed("--token-file", str(tmp_path / "token")))


def test_files_that_are_not_there_or_no_text(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name, found in (("none", "No such file"), ("binary", "no text")):
        with pytest.raises(OptionError, match=found):
            open_client(parsed("--token-file", str(tmp_path / name)))
    with pytest.raises(OptionError, match=r"ca: found .*No such file"):
        open_client(parsed("--ca", str(tmp_path / "none")))
