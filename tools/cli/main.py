"""The one command, `lqhq`. Each subcommand is a file here with `configure(parser)` and `main(args) -> int`."""

from __future__ import annotations

import argparse
import signal
import sys
from importlib import import_module, metadata

from lqhq.runtime.errors import LqhqError

__all__ = ["COMMANDS", "run"]

COMMANDS = {
    "upscale": "restore image files with a bundle",
    "export": "turn a trained checkpoint into a bundle",
    "parity": "compare a bundle with the PyTorch model it came from",
    "inspect": "show what a bundle holds",
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
    """SIGTERM ends like Ctrl-C, so that temporary files go away."""
    raise KeyboardInterrupt


def run(argv: list[str] | None = None) -> int:
    """Run `lqhq` with `argv`, or the process's own arguments.

    Returns the exit code: 0 all went well, 1 a verdict or some file failed, 2 a wrong request, 130 interrupted.
    """
    argv = sys.argv[1:] if argv is None else argv
    args = _parser(argv).parse_args(argv)
    signal.signal(signal.SIGTERM, _stop)
    try:
        return int(args.main(args))
    except LqhqError as error:
        print(f"lqhq {args.command}: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except KeyboardInterrupt:
        print(f"lqhq {args.command}: interrupted; nothing half-written was left", file=sys.stderr)
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(run())
