"""Starts a worker process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable

from lqhq.server.workers.packets import Line

__all__ = ["Start", "start_worker"]

# Takes the worker's ends of orders and answers; gives a process whose stdout is a pipe with all that it prints.
Start = Callable[[Line, Line], "subprocess.Popen[bytes]"]


def start_worker(orders: Line, answers: Line) -> subprocess.Popen[bytes]:
    """Start one. It is killed when the calling thread ends, so call it from the thread that owns the worker.

    Signals that a terminal or a service manager sends to all are blocked until it ignores them.
    """
    ends = (orders.socket.fileno(), answers.socket.fileno())
    # -P: the working directory may hold folders that are called as modules are.
    command = [sys.executable, "-P", "-m", "lqhq.server.workers.process", *map(str, ends), str(os.getpid())]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            pass_fds=ends,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
