"""`lqhq client`: have a server restore image files, ask what it holds and how it is."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from lqhq.tools.cli.client_flags import add_client_flags, model_version, open_client, seconds
from lqhq.tools.cli.columns import clean
from lqhq.tools.cli.extras import require_extra
from lqhq.tools.cli.interruptible import run_until_signal
from lqhq.tools.cli.restore_flags import OPTIONS, add_batch_flags, add_restore_flags
from lqhq.tools.cli.whole_number import whole_number

__all__ = ["configure", "main"]

EPILOG = """examples:
  lqhq client restore photo.png -o photo_x4.png
  lqhq client restore scans/ -o restored/ --model faces --jobs 8 --resume
  lqhq client restore photo.jpg -o out.png --address gpu1:8001 --ca ca.pem --token-file token
  lqhq client models demo
  lqhq client status --address gpu1:8001
"""
# What the client needs; `lqhq serve` needs more of the same extra.
PACKAGES = ("grpcio", "protobuf")
ANSWER_S = 20.0  # for questions that need no work
PATIENCE_S = 3600.0  # files of a batch wait for each other, at the server too
PRIORITIES, JOBS = 2**32 - 1, 256


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own commands."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    _configure_restore(commands.add_parser("restore", help="restore image files"))
    models = commands.add_parser("models", help="the models of the server, or all about one")
    models.add_argument("model", metavar="NAME[:VERSION]", nargs="?", type=model_version, help="describe this one")
    status = commands.add_parser("status", help="who answers, and whether it is ready; exit code 1 where it is not")
    for sub in (models, status):
        add_client_flags(sub, timeout_s=ANSWER_S, tries=1)
        sub.add_argument("--json", action="store_true", help="answer as JSON on standard output")


def _configure_restore(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_batch_flags(parser)
    add(
        "--model",
        metavar="NAME[:VERSION]",
        type=model_version,
        default=("", 0),
        help="which (default: the newest of the one model that the server holds)",
    )
    add_restore_flags(parser)
    add("--quality", metavar="Q", type=whole_number(1, 100), help="of JPEG and WebP, 1 to 100 (default: 95)")
    add("--bit-depth", type=int, choices=(8, 16), help="of the result (default: the image's own)")
    add(
        "--priority",
        metavar="P",
        type=whole_number(1, PRIORITIES),
        default=0,
        help="1 is the most urgent (default: the server's own level)",
    )
    add("--jobs", metavar="N", type=whole_number(1, JOBS), default=4, help="files at once (default: 4)")
    add(
        "--patience",
        metavar="S",
        type=seconds,
        default=PATIENCE_S,
        help=f"seconds for which a busy server is asked again, for each file (default: {PATIENCE_S:g})",
    )
    add_client_flags(parser, timeout_s=None, tries=5)


def main(args: argparse.Namespace) -> int:
    """Run the command; the exit code is 1 when a file failed, or the server is not ready."""
    require_extra("client", "serve", of=PACKAGES)
    actions = {"restore": _restore, "models": _models, "status": _status}
    return run_until_signal(actions[args.action](args))


async def _restore(args: argparse.Namespace) -> int:
    from lqhq.runtime.file_plan import plan_files
    from lqhq.runtime.image_file import SUFFIXES
    from lqhq.runtime.mask_files import plan_masks
    from lqhq.tools.cli.batch_report import print_report
    from lqhq.tools.cli.model_fit import check_model
    from lqhq.tools.cli.send_files import Sending, send_files
    from lqhq.tools.cli.sending_line import SendingLine

    pairs = plan_files(args.inputs, args.output, SUFFIXES, beside=args.mask)
    masks = None if args.mask is None else plan_masks(pairs, args.mask, SUFFIXES)
    line = SendingLine(sys.stderr, len(pairs))

    def note(pair: Any, text: str) -> None:
        line.clear()
        print(clean(f"{pair.source}: {text}"), file=sys.stderr)

    name, version = args.model
    options = {option: getattr(args, option) for option in OPTIONS}
    asked = options | {key: getattr(args, key) for key in ("quality", "bit_depth", "priority")}
    # What is wrong for every image is told before the first one is sent; nobody waits for a server that is not there.
    async with open_client(args, tries=1) as once:
        check_model(await once.describe(name, version=version), options, masked=masks is not None)
    async with open_client(args, patience_s=args.patience) as client:
        how = Sending(
            jobs=args.jobs,
            asked=asked | {"model": name, "version": version},
            masks=masks,
            resume=args.resume,
            timeout_s=args.timeout,
            line=line,
            note=note,
        )
        try:
            sent = await send_files(client, pairs, how)
        finally:
            line.clear()
    more = [{"outcome": one.told} for one in sent]
    return print_report("client", [one.outcome for one in sent], as_json=args.json, more=more)


async def _models(args: argparse.Namespace) -> int:
    from lqhq.tools.cli.model_page import as_fields, model_lines, model_page

    async with open_client(args) as client:
        if args.model is None:
            models = await client.models(timeout_s=args.timeout)
            told: Any = {"models": [as_fields(one) for one in models]}
            lines = model_lines(models) or ["no models"]
        else:
            name, version = args.model
            model = await client.describe(name, version=version, timeout_s=args.timeout)
            told, lines = as_fields(model), model_page(model)
    _print(told, lines, args.json)
    return 0


async def _status(args: argparse.Namespace) -> int:
    from lqhq.tools.cli.model_page import as_fields, model_lines

    async with open_client(args) as client:
        status = await client.status(timeout_s=args.timeout)
    told = {"address": status.address, "name": status.name, "version": status.version, "ready": status.ready}
    verdict = "ready" if status.ready else "NOT READY"
    lines = [clean(f"{status.name} {status.version} at {status.address}: {verdict}"), *model_lines(status.models)]
    _print(told | {"models": [as_fields(one) for one in status.models]}, lines, args.json)
    return 0 if status.ready else 1


def _print(told: Any, lines: list[str], as_json: bool) -> None:
    print(json.dumps(told, indent=1) if as_json else "\n".join(lines))
