"""`lqhq serve` as a command: its flags are the configuration's fields, and what is wrong ends in one line."""

from __future__ import annotations

import argparse
import queue
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton

from lqhq.runtime.errors import LqhqError
from lqhq.server.config.config_file import KEYS, read_config
from lqhq.server.config.serve_config import ServeConfig
from lqhq.tools.cli import extras, serve
from lqhq.tools.cli.extras import Package
from lqhq.tools.cli.main import run

OWN = {"config", "help"}
QUIET = ("--port", "0", "--metrics-port", "off", "--threads", "1", "--memory", "1G")
IMAGE = np.random.default_rng(4).integers(0, 256, (64, 64, 3), np.uint8)


class Served:
    """`lqhq serve demo` as a process of its own."""

    def __init__(self, *argv: str) -> None:
        command = [sys.executable, "-m", "lqhq.tools.cli.main", "serve", "demo", *QUIET, *argv]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()
        self.client = triton.InferenceServerClient(self.line.split()[-1])

    def ask(self, tile: int) -> queue.Queue[tuple[Any, Any]]:
        came: queue.Queue[tuple[Any, Any]] = queue.Queue()
        tensor = triton.InferInput("image", list(IMAGE.shape), "UINT8")
        tensor.set_data_from_numpy(IMAGE)
        self.client.async_infer(
            "demo", [tensor], lambda result, error: came.put((result, error)), parameters={"tile": tile}
        )
        return came

    def end(self) -> tuple[int, str]:
        """Exit code and log. Nothing of it is left."""
        self.client.close()
        _, log = self.process.communicate(timeout=30)
        (ready, *_) = [line for line in log.splitlines() if "worker ready" in line]
        worker = Path("/proc", ready.partition("pid=")[2])
        end = time.monotonic() + 5
        while worker.exists() and "Z" not in (worker / "stat").read_text().rpartition(")")[2].split()[0]:
            assert time.monotonic() < end, "a worker was left"
            time.sleep(0.01)
        return self.process.returncode, log


def parsed(*argv: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    serve.configure(parser)
    return vars(parser.parse_args(argv))


def flags() -> dict[str, str]:
    """The flag by field."""
    parser = argparse.ArgumentParser()
    serve.configure(parser)
    return {action.dest: (action.option_strings or [action.dest])[-1] for action in parser._actions}


def test_every_field_has_a_flag_and_every_flag_a_field() -> None:
    assert set(flags()) - OWN == {field.name for field in fields(ServeConfig)}


def test_flags_are_called_as_the_keys_of_the_file() -> None:
    for name, flag in flags().items():
        if name not in OWN:
            assert flag.lstrip("-").replace("-", "_").removeprefix("no_") == KEYS[name]


def test_nothing_given_is_every_default() -> None:
    given = parsed("demo")
    assert given.pop("config") is None
    assert read_config(None, given) == ServeConfig(bundles=("demo",))


def test_flags_go_above_the_file(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text('port = 9\ndevice = "cuda:0"\nreflection = true\nmax_batch = 3\n')
    argv = ["a=x", "demo", "--port", "0", "--device", "cpu", "--device", "cuda:1,cuda:2", "--no-reflection"]
    argv += ["--memory", "4G", "--metrics-port", "off", "--drain", "1.5", "--max-message", "1MiB", "--allow-unverified"]
    given = parsed(*argv, "--config", str(file))
    config = read_config(given.pop("config"), given)
    assert (config.port, config.max_batch, config.reflection, config.allow_unverified) == (0, 3, False, True)
    assert config.devices == ("cpu", "cuda:1", "cuda:2")
    assert (config.memory, config.metrics_port, config.drain_s) == (4_000_000_000, None, 1.5)
    assert (config.max_message_bytes, config.bundles[1]) == (1 << 20, "demo")


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ([], "bundles: found none"),
        (["demo", "--port", "70000"], "port: found 70000"),
        (["demo", "--device", "tpu"], "devices: found"),
        (["demo", "--tls-cert", "none.pem"], "tls_key: found nothing"),
        (["demo", "--config", "none.toml"], "config none.toml"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], told: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["serve", *argv]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"lqhq serve: {told}")
    assert err.count("\n") == 1


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "declared_extras", lambda: {"serve": [Package("grpcio", None, "1.81.1")]})
    with pytest.raises(LqhqError, match=r"grpcio is missing.*pip install"):
        serve.main(argparse.Namespace())


def test_it_says_where_it_listens_and_ends_at_a_signal() -> None:
    served = Served()
    assert re.fullmatch(r"lqhq \S+ listening on 127\.0\.0\.1:\d+\n", served.line)
    assert served.client.is_server_ready()
    served.process.terminate()
    assert served.end()[0] == 0


@pytest.mark.slow
def test_a_signal_drains() -> None:
    served = Served()
    came = served.ask(16)
    while served.client.get_inference_statistics("demo").model_stats[0].execution_count == 0:
        time.sleep(0.01)
    served.process.send_signal(signal.SIGINT)
    while served.client.is_server_ready():
        time.sleep(0.01)
    refused = served.ask(16).get(timeout=5)[1]
    assert refused.status() == "StatusCode.UNAVAILABLE"
    assert "shutting down" in refused.message()
    assert came.empty(), "the test is too slow to see anything"
    result, error = came.get(timeout=20)
    assert error is None
    assert result.as_numpy("image").shape == (256, 256, 3)
    code, log = served.end()
    assert code == 0
    assert "draining requests=1" in log


@pytest.mark.slow
def test_a_drain_that_takes_too_long_is_cut_short() -> None:
    served = Served("--drain", "0.1")
    came = served.ask(12)
    while served.client.get_inference_statistics("demo").model_stats[0].execution_count == 0:
        time.sleep(0.01)
    served.process.terminate()
    assert came.get(timeout=5)[1].status() == "StatusCode.UNAVAILABLE"
    code, log = served.end()
    assert code == 0
    assert "cancelling requests=1" in log


@pytest.mark.slow
def test_a_second_signal_ends_at_once() -> None:
    served = Served()
    served.ask(12)
    while served.client.get_inference_statistics("demo").model_stats[0].execution_count == 0:
        time.sleep(0.01)
    served.process.terminate()
    while served.client.is_server_ready():
        time.sleep(0.01)
    served.process.terminate()
    code, log = served.end()
    assert code == 128 + signal.SIGTERM
    assert log.endswith("lqhq serve: SIGTERM again; not waiting for anything\n")


@pytest.mark.slow
def test_a_bundle_that_is_not_there_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lqhq.tools.cli.main", "serve", f"x={tmp_path / 'none'}", *QUIET]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.splitlines()[-1].startswith("lqhq serve: ")
    assert "nothing there" in ended.stderr.splitlines()[-1]
