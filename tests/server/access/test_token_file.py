"""Files of tokens, right and wrong, and changed while they are used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from lqhq.runtime.errors import OptionError
from lqhq.server.access.token_file import TokenFile, exposed

ANNA, BO, NAMELESS = "a" * 16, "bo.-_~+/0123456789==", "0123456789abcdef" * 4
FILE = f"# made for tests\n\nanna:{ANNA}\nbo@site:{BO}\r\n  {NAMELESS}  \n"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Said(list[dict[str, Any]]):
    def __call__(self, event: str, **fields: Any) -> None:
        self.append({"event": event, **fields})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(FILE)
    path.chmod(0o600)
    return path


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def said() -> Said:
    return Said()


@pytest.fixture
def tokens(path: Path, clock: Clock, said: Said) -> TokenFile:
    return TokenFile(path, log=said, clock=clock)


def test_who_it_is(tokens: TokenFile, said: Said) -> None:
    assert [tokens.caller(token) for token in (ANNA, BO, NAMELESS)] == ["anna", "bo@site", ""]
    assert said == []


@pytest.mark.parametrize(
    "token", ["", ANNA[:-1], ANNA + "a", ANNA.upper(), f"anna:{ANNA}", "# made for tests", "é" * 16, "\udc80" * 16]
)
def test_who_it_is_not(tokens: TokenFile, token: str) -> None:
    assert tokens.caller(token) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no token"),
        ("# nothing\n", "no token"),
        ("anna:tooshort", "line 1"),
        (f"{ANNA}\nanna:{BO} trailing", "line 2"),
        (f"an na:{ANNA}", "line 1"),
        (f":{ANNA}", "line 1"),
        (f"{ANNA}\nbo:{ANNA}", "there already"),
        ("é" * 20, "line 1"),
        ("a" * 600, "line 1"),
        ("#" * (1 << 20) + "\n", "more than"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_refused_at_the_start(path: Path, said: Said, text: str, told: str) -> None:
    path.write_text(text)
    with pytest.raises(OptionError, match=told) as caught:
        TokenFile(path, log=said)
    assert "tokens" in caught.value.where
    assert ANNA not in str(caught.value)
    assert "tooshort" not in str(caught.value)


def test_no_file_and_no_text(tmp_path: Path, said: Said) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff" * 20)
    for name in ("none", ".", "bytes"):
        with pytest.raises(OptionError, match="token_file"):
            TokenFile(tmp_path / name, log=said)


def test_changes_count_within_a_second(tokens: TokenFile, path: Path, clock: Clock, said: Said) -> None:
    path.write_text(f"bo@site:{BO}\nnew:{'n' * 20}\n")
    clock.now = 0.9
    assert tokens.caller(ANNA) == "anna"
    clock.now = 1.0
    assert tokens.caller(ANNA) is None
    assert [tokens.caller(BO), tokens.caller("n" * 20)] == ["bo@site", "new"]
    assert said == [{"event": "token file", "tokens": 2, "path": str(path)}]


def test_a_change_of_the_same_size_and_time_counts(tokens: TokenFile, path: Path, clock: Clock) -> None:
    """As `mv` over it does, with a time that was set back."""
    before = path.stat()
    fresh = path.with_name("fresh")
    fresh.write_text(FILE.replace(ANNA, "z" * 16))
    os.utime(fresh, ns=(before.st_atime_ns, before.st_mtime_ns))
    fresh.rename(path)
    clock.now = 2.0
    assert tokens.caller(ANNA) is None
    assert tokens.caller("z" * 16) == "anna"


def test_a_wrong_line_later_costs_itself_alone(tokens: TokenFile, path: Path, clock: Clock, said: Said) -> None:
    path.write_text(f"anna:{ANNA}\nbo:short\n")
    clock.now = 2.0
    assert tokens.caller(ANNA) == "anna"
    assert tokens.caller(BO) is None
    assert any("line 2" in line.get("fault", "") for line in said)


def test_a_file_that_is_gone_lets_nobody_in_until_it_is_back(
    tokens: TokenFile, path: Path, clock: Clock, said: Said
) -> None:
    path.unlink()
    clock.now = 2.0
    assert tokens.caller(ANNA) is None
    assert any("nobody" in line.get("fault", "") for line in said)
    path.write_text(FILE)
    clock.now = 4.0
    assert tokens.caller(ANNA) == "anna"


def test_a_file_that_everybody_may_read_is_warned_of(path: Path, said: Said) -> None:
    path.chmod(0o644)
    TokenFile(path, log=said)
    assert "chmod 600" in said[0]["warning"]
    assert exposed(path)


def test_tokens_are_not_kept(tokens: TokenFile) -> None:
    kept = repr(vars(tokens)).encode()
    assert ANNA.encode() not in kept
    assert NAMELESS.encode() not in kept
