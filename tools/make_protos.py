"""Makes the Python code of `server/protos/*.proto`: messages, their types, and services with theirs.

    python tools/make_protos.py          writes it beside the protos
    python tools/make_protos.py --check  writes nothing; prints what differs; exit 1 if anything does

It is checked in, so that installing needs no compiler. Three things are not as protoc leaves them: messages live in our
own descriptor pool (`server/protos/pool.py` says why), services get type stubs, of which protoc makes none, and linters
are told to pass by.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["PINNED", "installed", "main", "make"]

# The last release whose code runs on protobuf 6 as well as on 7: the stock V2 client wants 6.
PINNED = "1.81.1"
ROOT = Path(__file__).resolve().parent.parent
FOLDER = "server/protos"
PROTOS = ("inference.proto", "lqhq_v1.proto")
PACKAGE = "lqhq.server.protos"
PATH = PACKAGE.replace(".", "/")  # where protoc believes the protos to be: imports between what it makes follow from it
HEAD = "# ruff: noqa\n# fmt: off\n"
# protoc leaves mappings bare; one stub class stands for two kinds of channel.
TYPES_HEAD = '# mypy: disable-error-code="type-arg,misc"\n'
POOLS = (
    ("google.protobuf import descriptor_pool as _descriptor_pool", f"{PACKAGE}.pool import POOL as _POOL"),
    ("_descriptor_pool.Default()", "_POOL"),
)
STREAMS = {(False, False): "UnaryUnary", (False, True): "UnaryStream", (True, False): "StreamUnary"}


def installed() -> str | None:
    """The version of grpcio-tools that is installed, or None."""
    try:
        return importlib.metadata.version("grpcio-tools")
    except importlib.metadata.PackageNotFoundError:
        return None


def make(root: Path) -> dict[str, str]:
    """File name -> text of all that is made of the protos below `root`. Raises `RuntimeError` where protoc fails."""
    with tempfile.TemporaryDirectory() as made:
        flags = [f"-I{PATH}={root / FOLDER}", f"--descriptor_set_out={made}/set", "--include_imports"]
        flags += [f"--{kind}_out={made}" for kind in ("python", "pyi", "grpc_python")]
        protoc = [sys.executable, "-m", "grpc_tools.protoc", *flags, *(f"{PATH}/{name}" for name in PROTOS)]
        ran = subprocess.run(protoc, capture_output=True, text=True, check=False)
        if ran.returncode or ran.stderr:  # protoc warns of unused imports and the like there
            raise RuntimeError(ran.stderr)
        files = {path.name: path.read_text() for path in sorted((Path(made) / PATH).iterdir())}
        files |= service_stubs((Path(made) / "set").read_bytes())
    return {
        name: HEAD + (TYPES_HEAD if name.endswith(".pyi") else "") + pooled(name, text) for name, text in files.items()
    }


def pooled(name: str, text: str) -> str:
    """Messages of our own pool instead of the process's."""
    if not name.endswith("_pb2.py"):
        return text
    for found, ours in POOLS:
        if text.count(found) != 1:
            raise RuntimeError(f"{name}: {found.strip()!r} is there {text.count(found)} times; expected once")
        text = text.replace(found, ours)
    return text


def service_stubs(descriptors: bytes) -> Iterator[tuple[str, str]]:
    """Name and text of a `_pb2_grpc.pyi` for each proto: asynchronous servicers, stubs for both kinds of channel."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    for file in FileDescriptorSet.FromString(descriptors).file:
        messages = f"{Path(file.name).stem}_pb2"
        lines = [
            "import grpc",
            "import grpc.aio",
            "from collections.abc import AsyncIterator as _AsyncIterator",
            "from typing import overload as _overload, type_check_only as _type_check_only",
            f"from {PACKAGE} import {messages} as _pb2",
        ]
        for service in file.service:
            calls = []
            for method in service.method:
                sent, got = (f"_pb2.{name.rsplit('.', 1)[1]}" for name in (method.input_type, method.output_type))
                calls.append((method.name, (method.client_streaming, method.server_streaming), sent, got))
            lines += service_lines(service.name, calls)
        yield f"{messages}_grpc.pyi", "\n".join(lines) + "\n"


def service_lines(name: str, calls: list[tuple[str, tuple[bool, bool], str, str]]) -> Iterator[str]:
    """One service; a call is its name, whether request and reply are streams, and what they are made of."""
    kinds = [(call, STREAMS.get(streams, "StreamStream"), sent, got) for call, streams, sent, got in calls]
    yield f"\nclass {name}Stub:"
    for channel, kind in (("grpc.Channel", "Stub"), ("grpc.aio.Channel", "AsyncStub")):
        yield f"    @_overload\n    def __new__(cls, channel: {channel}) -> {name}{kind}: ..."
    yield from (f"    {call}: grpc.{kind}MultiCallable[{sent}, {got}]" for call, kind, sent, got in kinds)
    yield f"\n@_type_check_only\nclass {name}AsyncStub:"
    yield from (f"    {call}: grpc.aio.{kind}MultiCallable[{sent}, {got}]" for call, kind, sent, got in kinds)
    yield f"\nclass {name}Servicer:"
    for call, (streamed_in, streamed_out), sent, got in calls:
        asked = f"request_iterator: _AsyncIterator[{sent}]" if streamed_in else f"request: {sent}"
        start, reply = ("def", f"_AsyncIterator[{got}]") if streamed_out else ("async def", got)
        context = f"context: grpc.aio.ServicerContext[{sent}, {got}]"
        yield f"    {start} {call}(self, {asked}, {context}) -> {reply}: ..."
    yield f"\ndef add_{name}Servicer_to_server(servicer: {name}Servicer, server: grpc.aio.Server) -> None: ..."


def main(argv: list[str]) -> int:
    """Write or compare; 1 where the checked-in code is not what the protos make, or the compiler is another."""
    parser = argparse.ArgumentParser(description="Make the Python code of server/protos.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a file differs")
    args = parser.parse_args(argv)
    if installed() != PINNED:
        print(
            f"grpcio-tools {installed() or 'is not installed'}; expected {PINNED}: pip install grpcio-tools=={PINNED}"
        )
        return 1
    folder = ROOT / FOLDER
    differing = {
        name: text
        for name, text in make(ROOT).items()
        if not (folder / name).is_file() or (folder / name).read_text() != text
    }
    for name, text in differing.items():
        print(f"{FOLDER}/{name} {'differs' if args.check else 'written'}")
        if not args.check:
            (folder / name).write_text(text)
    return 1 if differing and args.check else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
