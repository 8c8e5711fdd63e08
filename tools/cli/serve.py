"""`lqhq serve`: bundles over gRPC."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqhq.runtime.engines import ENGINES
from lqhq.runtime.precision import PRECISIONS
from lqhq.tools.cli.extras import require_extra

if TYPE_CHECKING:
    from lqhq.server.app import App
    from lqhq.server.config.serve_config import ServeConfig

__all__ = ["configure", "main"]

EPILOG = """examples:
  lqhq serve demo
  lqhq serve faces=bundles/diffir-x4 old=bundles/indi --device cuda:0 --engine tensorrt
  lqhq serve --model-dir models/ --memory 4G --config serve.toml

A first SIGTERM or Ctrl-C drains; a second one ends at once.
"""
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments. Defaults are those of `ServeConfig`, so that a file may come in between."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add = parser.add_argument
    add("bundles", metavar="BUNDLE", nargs="*", help="PATH or NAME=PATH of a bundle, or `demo`")
    add("--model-dir", metavar="DIR", type=Path, help="folder of bundles: NAME/manifest.json or NAME/1/manifest.json")
    add("--config", metavar="FILE", type=Path, help="TOML file of these settings, with _ for -; flags go above it")
    _add_address(parser.add_argument_group("address"))
    _add_running(parser.add_argument_group("what runs the graphs"))
    _add_access(parser.add_argument_group("who may ask"))
    _add_limits(parser.add_argument_group("limits"))


def _add_address(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--host", metavar="H", help="address to listen on (default: 127.0.0.1, this machine alone)")
    add("--port", metavar="P", type=int, help="port of gRPC; 0: any free one (default: 8001)")
    add("--metrics-port", metavar="P", type=_port_or_off, help="port of GET /metrics, or off (default: 8002)")
    add("--log-format", choices=("text", "json"), help="of the log on stderr (default: text)")
    add("--no-reflection", dest="reflection", action="store_false", default=None, help="do not list services")


def _add_running(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--device", dest="devices", metavar="D", action="append", help="cpu, cuda, cuda:1; a worker each, also cpu,cpu")
    add("--engine", choices=tuple(ENGINES), help="(default: onnx)")
    add("--precision", choices=PRECISIONS, help="of the graphs (default: fp32)")
    add("--threads", metavar="T", type=int, help="engine threads of each worker (default: the engine's choice)")
    add("--cache", metavar="DIR", type=Path, help="where built engines are kept")
    add("--max-batch", metavar="N", type=int, help="tiles in a batch (default: 1 on a CPU, else 8)")
    add("--batch-window", dest="batch_window_ms", metavar="MS", type=float, help="most wait to fill it (default: 2)")
    add("--decode-threads", metavar="N", type=int, help="images decoded and encoded at once (default: 2)")


def _add_access(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--tls-cert", metavar="PEM", type=Path, help="certificate with its chain; with --tls-key: TLS")
    add("--tls-key", metavar="PEM", type=Path, help="its private key")
    add("--tls-client-ca", metavar="PEM", type=Path, help="clients need a certificate signed by one of these")
    add("--token-file", metavar="F", type=Path, help="calls need a token of this file, one a line")
    add(
        "--allow-unverified",
        action="store_true",
        default=None,
        help="serve bundles without a passing parity record, too",
    )


def _add_limits(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--memory", metavar="M", help="for all requests, like 4G (default: 60%% of what is free)")
    add("--max-message", dest="max_message_bytes", metavar="M", help="of one gRPC message (default: 32MiB)")
    add("--max-image-bytes", metavar="M", help="of an image's file (default: 512MiB)")
    add("--max-pixels", metavar="N", type=int, help="of an image (default: 67108864)")
    add("--max-result-pixels", metavar="N", type=int, help="of a result (default: 1073741824)")
    add("--max-requests", metavar="N", type=int, help="accepted and not answered (default: 256)")
    add("--max-rpcs", metavar="N", type=int, help="calls at once (default: 128)")
    add("--max-streams", metavar="N", type=int, help="calls at once of one connection (default: 32)")
    add("--max-connections", metavar="N", type=int, help="(default: 256)")
    add("--max-wait-s", metavar="S", type=float, help="predicted wait that is still let in (default: 60)")
    add("--priority-levels", metavar="N", type=int, help="1 is the most urgent (default: 3)")
    add("--default-priority", metavar="N", type=int, help="of requests that name none (default: 2)")
    add("--idle-s", metavar="S", type=float, help="between two messages of an upload (default: 30)")
    add("--send-s", metavar="S", type=float, help="one message to a slow reader (default: 60)")
    add("--drain", dest="drain_s", metavar="S", type=float, help="for accepted requests at the end (default: 30)")


def _port_or_off(text: str) -> int | str:
    if text != "off" and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a port nor off")
    return text if text == "off" else int(text)


def main(args: argparse.Namespace) -> int:
    """Serve until a signal; 0 after a drain. Raises `OptionError` for what cannot be served."""
    require_extra("serve", "serve")
    from lqhq.server.config.config_file import read_config

    given = {name: value for name, value in vars(args).items() if name not in ("command", "main", "config")}
    config = read_config(args.config, given)

    # gRPC would write lines of its own between those of the log, one for each call that it refuses.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from lqhq.server.app import App
    from lqhq.server.logs.captured import captured_logging
    from lqhq.server.logs.log import Log

    log = Log(config.log_format)
    with captured_logging(log):
        return asyncio.run(_serve(App(config, log), config))


async def _serve(app: App, config: ServeConfig) -> int:
    ending = asyncio.Event()
    _listen_to_signals(ending)
    starting = asyncio.create_task(app.start())
    waiting = asyncio.create_task(ending.wait())
    try:
        await asyncio.wait((starting, waiting), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            version = metadata.version("lqhq")
            print(f"lqhq {version} listening on {starting.result()}", flush=True)
            await waiting
    finally:
        # A start that a signal cut short has nothing to drain.
        started = starting.done()
        starting.cancel()
        waiting.cancel()
        await asyncio.wait((starting,))
        await app.stop(config.drain_s if started else 0.0)
    return 0


def _listen_to_signals(ending: asyncio.Event) -> None:
    """The first one sets `ending`, any other ends the process; its workers end with it."""

    def heard(number: int) -> None:
        if ending.is_set():
            print(f"lqhq serve: {signal.Signals(number).name} again; not waiting for anything", file=sys.stderr)
            sys.stderr.flush()
            os._exit(128 + number)
        ending.set()

    loop: Any = asyncio.get_running_loop()
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            loop.add_signal_handler(number, heard, number)
