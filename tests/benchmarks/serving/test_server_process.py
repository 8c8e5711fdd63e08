"""A server is there when it answers, and gone with all that it started when the block is left."""

from __future__ import annotations

import signal
import socket
import sys
import textwrap
import time
from pathlib import Path

import pytest
from serving import server_process
from serving.process_tree import descendants, tree_memory
from serving.server_process import ServerError, ServerProcess, free_port, lqhq_command

PARENT = textwrap.dedent("""
    import signal, socket, subprocess, sys, time
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    signal.signal(signal.SIGTERM, lambda *_: (print("drained", flush=True), sys.exit(0)))
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    print("listening", flush=True)
    time.sleep(60)
""")


def _answers(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 1):
        return True


def test_it_waits_for_an_answer_counts_the_tree_and_leaves_nothing(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-c", PARENT, str(port)]
    with ServerProcess(command, tmp_path / "log", lambda: _answers(port)) as server:
        [child] = descendants(server.pid)
        assert server.alive
        assert server.memory() > tree_memory(child) > 1 << 20
        assert server.terminate(10) == 0
        assert server.last_words() == "listening\ndrained"
    until = time.monotonic() + 5
    while Path(f"/proc/{child}/cmdline").exists() and Path(f"/proc/{child}/cmdline").read_bytes():
        assert time.monotonic() < until, "a child outlived its server"
        time.sleep(0.02)


def test_one_that_ends_gives_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('port taken')"]
    with pytest.raises(ServerError, match=r"exit code 1: port taken"), ServerProcess(command, tmp_path / "log", bool):
        pass


def test_one_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_process, "PATIENCE", 0.3)
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(ServerError, match=r"no answer within 0\.3 s"), ServerProcess(command, tmp_path / "log", bool):
        pass


def test_one_that_ignores_sigterm_is_said_to(tmp_path: Path) -> None:
    code = f"""
import signal, time
signal.signal({int(signal.SIGTERM)}, signal.SIG_IGN)
print("up", flush=True)
time.sleep(60)
"""
    log = tmp_path / "log"
    with (
        ServerProcess([sys.executable, "-c", code], log, lambda: b"up" in log.read_bytes()) as server,
        pytest.raises(ServerError, match=r"still there 0\.2 s after SIGTERM"),
    ):
        server.terminate(0.2)


def test_the_command_names_port_bundles_and_threads() -> None:
    words = lqhq_command(1234, ["m=demo"], 2, "--metrics-port", "off")
    assert words[3:] == ["serve", "m=demo", "--port", "1234", "--threads", "2", "--metrics-port", "off"]
