"""The entry point itself: what no subcommand should have to think of."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from lqhq.tools.cli import main as entry
from lqhq.tools.cli.main import COMMANDS, run

COMMAND = f"env -u PYTHONUNBUFFERED {sys.executable} -m lqhq.tools.cli.main"


def shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True)


def plant(monkeypatch: pytest.MonkeyPatch, error: BaseException, *, early: bool = False) -> None:
    """A subcommand that raises `error`: while it is run, or already while it adds its arguments."""

    def fail(_: object) -> int:
        raise error

    module = SimpleNamespace(configure=fail if early else lambda _: None, main=fail)
    monkeypatch.setattr(entry, "import_module", lambda _: module)


def test_alone_it_prints_its_help(capsys):
    assert run([]) == 2
    captured = capsys.readouterr()
    assert all(name in captured.err for name in COMMANDS)
    assert captured.out == ""


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (KeyboardInterrupt(), 130, "lqhq: interrupted; nothing half-written was left\n"),
        (OSError(28, "No space left on device"), 2, "lqhq: [Errno 28] No space left on device\n"),
        (OSError("a\x1b[2J"), 2, "lqhq: a?[2J\n"),
        (BrokenPipeError(), 1, ""),
    ],
)
def test_planted_errors_end_in_one_line(monkeypatch, capsys, early, error, code, text):
    plant(monkeypatch, error, early=early)
    assert run(["doctor"]) == code
    assert capsys.readouterr().err == text


def test_what_is_no_expected_error_is_not_hidden(monkeypatch):
    plant(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        run(["doctor"])


def test_an_unknown_command_is_a_usage_error():
    with pytest.raises(SystemExit) as caught:
        run(["restore"])
    assert caught.value.code == 2


def test_nohup_stays_in_force(monkeypatch):
    monkeypatch.setattr(entry, "_parser", lambda _: argparse.ArgumentParser())
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run([])
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        run([])
        assert signal.getsignal(signal.SIGHUP) is entry._stop
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("line", "code", "text"),
    [
        ("--version > /dev/full", 2, "lqhq: [Errno 28] No space left on device\n"),
        ("--version >&-", 0, ""),
        ("--version 2>&-", 0, ""),
        (">&- 2>&-", 2, ""),
        ("2> /dev/full", 2, ""),
        ("inspect absent 2> /dev/full", 2, ""),
    ],
)
def test_a_full_or_closed_output_has_no_traceback(line, code, text):
    done = shell(f"{COMMAND} {line}")
    assert (done.returncode, done.stderr) == (code, text)


def test_a_reader_that_went_away_is_no_error_message():
    done = shell(f"{{ sleep 1; {COMMAND} --version; echo $? >&2; }} | true")
    assert done.stderr == "1\n"
