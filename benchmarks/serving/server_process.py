"""A server under test: a process group of its own, a log, and the moment when it answers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from serving.process_tree import tree_memory

__all__ = ["ServerError", "ServerProcess", "free_port", "lqhq_command"]

PATIENCE = 180.0  # seconds until a server answers: imports, digests and self-checks on a busy machine
LAST_WORDS = 1500  # characters of the log in an error


class ServerError(Exception):
    """A server ended, or did not answer; the text has the end of its log."""


class ServerProcess:
    """Runs `command` from `with` to its end; then the whole group is killed.

    `answers()` is asked again and again until it is true; it may raise `OSError` until then.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        answers: Callable[[], bool],
        *,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self._log, self._answers = log, answers
        self._command, self._folder = [str(word) for word in command], folder
        self._environment = {**os.environ, **(environment or {})}

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        try:
            self._wait()
        except BaseException:
            self.kill()
            raise
        return self

    def _wait(self) -> None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if not self.alive:
                raise ServerError(f"{self._command[0]}: exit code {self._process.returncode}: {self.last_words()}")
            try:
                if self._answers():
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise ServerError(f"{self._command[0]}: no answer within {PATIENCE:g} s: {self.last_words()}")

    @property
    def pid(self) -> int:
        """Of the first process; workers are below it."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the first process runs."""
        return self._process.poll() is None

    def memory(self) -> int:
        """Bytes of the whole tree, see `tree_memory`."""
        return tree_memory(self.pid)

    def terminate(self, patience: float) -> int:
        """SIGTERM, and the exit code. Raises `ServerError` where it does not end within `patience` seconds."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(patience)
        except subprocess.TimeoutExpired:
            raise ServerError(f"{self._command[0]}: still there {patience:g} s after SIGTERM") from None

    def last_words(self) -> str:
        """The end of the log."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-LAST_WORDS:].strip()

    def kill(self) -> None:
        """End the group at once. Harmless where it has ended."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def free_port() -> int:
    """A port of this machine that nobody listened on just now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def lqhq_command(port: int, bundles: Sequence[str], threads: int, *more: str) -> list[str]:
    """The command `lqhq serve` on `port`, with its defaults but for what is given."""
    code = "import sys; from lqhq.tools.cli.main import run; sys.exit(run(sys.argv[1:]))"
    words = ["serve", *bundles, "--port", str(port), "--threads", str(threads), *more]
    return [sys.executable, "-c", code, *words]
