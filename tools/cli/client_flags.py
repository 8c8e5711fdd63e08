"""The flags that say where a server is and how it is spoken to."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqhq.runtime.errors import OptionError
from lqhq.tools.cli.whole_number import whole_number

if TYPE_CHECKING:
    from lqhq.server.client import AsyncClient

__all__ = ["add_client_flags", "model_version", "open_client", "seconds"]

ADDRESS = "127.0.0.1:8001"  # as `lqhq serve` listens
VERSIONS = 2**63 - 1


def add_client_flags(parser: argparse.ArgumentParser, *, timeout_s: float | None, tries: int) -> None:
    """`--address`, TLS, `--token-file`, `--timeout`, `--tries`; the defaults of the last two are the command's own."""
    group = parser.add_argument_group("the server")
    add = group.add_argument
    add("--address", metavar="HOST:PORT", default=ADDRESS, help=f"of the server, or unix:PATH (default: {ADDRESS})")
    add("--tls", action="store_true", help="speak TLS and trust the authorities that gRPC ships")
    add("--ca", metavar="FILE", type=Path, help="speak TLS and trust the authorities of this PEM file")
    add("--cert", metavar="FILE", type=Path, help="the client's own certificate, for servers that ask for one")
    add("--key", metavar="FILE", type=Path, help="its private key")
    add("--token-file", metavar="FILE", type=Path, help="file with the token that the server wants")
    allowed = "no limit" if timeout_s is None else f"{timeout_s:g}"
    add(
        "--timeout",
        metavar="S",
        type=seconds,
        default=timeout_s,
        help=f"seconds for each request, tries and pauses included (default: {allowed})",
    )
    add(
        "--tries",
        metavar="N",
        type=whole_number(1, 1000),
        default=tries,
        help=f"calls in all while the server is away (default: {tries})",
    )


def open_client(args: argparse.Namespace, *, tries: int | None = None, patience_s: float = 0.0) -> AsyncClient:
    """The client that the flags describe, with `tries` in place of theirs. Raises `OptionError`; nothing is sent.

    `patience_s`: how long a busy server is asked again.
    """
    from lqhq.server.client import AsyncClient, Retry

    arguments: dict[str, Any] = {name: getattr(args, name) for name in ("tls", "ca", "cert", "key")}
    token = None if args.token_file is None else _read_token(args.token_file)
    return AsyncClient(
        args.address, **arguments, token=token, retry=Retry(tries=tries or args.tries, patience_s=patience_s)
    )


def seconds(text: str) -> float:
    """A time above 0. Raises `argparse.ArgumentTypeError`."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a time in seconds above 0")
    return value


def model_version(text: str) -> tuple[str, int]:
    """NAME or NAME:VERSION as name and version, 0 for the newest. Raises `argparse.ArgumentTypeError`."""
    name, colon, version = text.partition(":")
    return name, whole_number(1, VERSIONS)(version) if colon else 0


def _read_token(path: Path) -> str:
    """The first token of a file like the server's own: lines of `token` or `name:token`, `#` begins a comment."""
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        found = getattr(error, "strerror", None) or "no text"
    else:
        for line in lines:
            if line and not line.startswith("#"):
                return line.rpartition(":")[2]
        found = "no token"
    raise OptionError(
        "--token-file", found=f"{path}: {found}", expected="a file with a token", mend="Ask who runs the server."
    )
