"""The one command, `lqhq`. Each subcommand is a file here with `configure(parser)` and `main(args) -> int`."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
from importlib import import_module, metadata
from typing import TextIO

from lqhq.runtime.errors import LqhqError
from lqhq.tools.cli.columns import clean

__all__ = ["COMMANDS", "run"]

COMMANDS = {
    "upscale": "restore image files with a bundle",
    "synthesize": "make low-quality partners of high-quality images, as training pairs",
    "export": "turn a trained checkpoint into a bundle",
    "serve": "serve bundles over gRPC",
    "client": "have a server restore image files, ask what it holds and how it is",
    "parity": "compare a bundle with the PyTorch model it came from",
    "inspect": "show what a bundle holds",
    "engines": "build TensorRT engines of a bundle, list and clean those that are kept",
    "doctor": "say what works on this machine, and what to do about the rest",
}
EPILOG = "Start with `lqhq upscale demo PHOTO -o OUT.png`: `demo` is a small model that ships with lqhq."
INTERRUPTED = 130  # as shells report it


def _parser(argv: list[str]) -> argparse.ArgumentParser:
    """All commands are listed; only the one that `argv` names is imported, so a broken extra harms no other."""
    chosen = next((word for word in argv if not word.startswith("-")), None)
    parser = argparse.ArgumentParser(
        prog="lqhq", description="Deploy trained diffusion image-restoration models.", epilog=EPILOG
    )
    parser.add_argument("--version", action="version", version=f"lqhq {metadata.version('lqhq')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == chosen:
            module = import_module(f"lqhq.tools.cli.{name}")
            module.configure(sub)
            sub.set_defaults(main=module.main)
    return parser


def _stop(signum: int, frame: object) -> None:
    """SIGTERM and SIGHUP end like Ctrl-C, so that temporary files go away."""
    raise KeyboardInterrupt


def _listen_to_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, _stop)


def _mend_streams() -> None:
    """Closed ones get /dev/null, lest the next file opened take their place; names that are no text are escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, io.TextIOWrapper(io.FileIO(os.devnull, "w"), encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _discard(stream: TextIO) -> None:
    """What is still buffered goes nowhere; Python would try to write it again at its end, and complain."""
    with contextlib.suppress(OSError), open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), stream.fileno())


def _say(text: str) -> None:
    try:
        # A file's name may hold what drives a terminal.
        print("\n".join(clean(line) for line in text.splitlines()), file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def _flush() -> None:
    try:
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)
    sys.stdout.flush()


def run(argv: list[str] | None = None) -> int:
    """Run `lqhq` with `argv`, or the process's own arguments.

    Returns the exit code: 0 all went well, 1 a verdict or some file failed, or nobody reads the output any more,
    2 a wrong request or an output that cannot be written, 130 interrupted. Raises `SystemExit` where argparse does.
    """
    try:
        try:
            _mend_streams()
            _listen_to_signals()
            return _run(sys.argv[1:] if argv is None else argv)
        finally:
            _flush()  # here, where a full disk can be told
    except KeyboardInterrupt:
        _say("lqhq: interrupted; nothing half-written was left")
        return INTERRUPTED
    except BrokenPipeError:
        _discard(sys.stdout)
        _discard(sys.stderr)
        return 1
    except OSError as error:
        _discard(sys.stdout)
        _say(f"lqhq: {error}")
        return 2


def _run(argv: list[str]) -> int:
    parser = _parser(argv)
    if not argv:
        parser.print_help(sys.stderr)
        return 2
    args = parser.parse_args(argv)
    try:
        return int(args.main(args))
    except LqhqError as error:
        _say(f"lqhq {args.command}: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(run())
