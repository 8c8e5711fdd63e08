"""What a configuration may hold."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from lqhq.runtime.errors import OptionError
from lqhq.server.config.serve_config import NUMBERS, WHOLE, ServeConfig, join_address


def test_defaults_are_allowed_and_local() -> None:
    config = ServeConfig()
    assert (config.host, config.port, config.batch) == ("127.0.0.1", 8001, 1)
    assert config.address == "127.0.0.1:8001"


@pytest.mark.parametrize(
    ("devices", "batch"), [(("cpu",), 1), (("cuda:1",), 8), (("cpu", "cuda"), 8)], ids=["cpu", "cuda", "both"]
)
def test_batch_follows_the_devices(devices: tuple[str, ...], batch: int) -> None:
    assert ServeConfig(devices=devices).batch == batch
    assert ServeConfig(devices=devices, max_batch=3).batch == 3


@pytest.mark.parametrize("name", [*WHOLE, *NUMBERS])
@pytest.mark.parametrize("value", [-1, True, "4", float("nan"), 1e300])
def test_numbers_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(OptionError) as caught:
        ServeConfig(**{name: value})
    assert caught.value.where == name


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"engine": "caffe"}, "engine"),
        ({"precision": "int8"}, "precision"),
        ({"log_format": "xml"}, "log_format"),
        ({"port": None}, "port"),
        ({"devices": ()}, "devices"),
        ({"devices": ("gpu",)}, "devices"),
        ({"tls_cert": Path("c")}, "tls_key"),
        ({"tls_key": Path("k")}, "tls_cert"),
        ({"tls_client_ca": Path("a")}, "tls_client_ca"),
        ({"default_priority": 4}, "default_priority"),
        ({"port": 8002}, "metrics_port"),
        ({"host": ""}, "host"),
        ({"host": "a, b"}, "host"),
    ],
)
def test_refused(given: dict[str, Any], where: str) -> None:
    with pytest.raises(OptionError) as caught:
        ServeConfig(**given)
    assert caught.value.where == where


def test_both_ports_may_be_any_free_one() -> None:
    assert ServeConfig(port=0, metrics_port=0).metrics_port == 0


def test_every_number_has_bounds() -> None:
    """A number without bounds would be one that nobody checks."""
    kinds = {"int", "float", "int | None"}
    numbers = {field.name for field in fields(ServeConfig) if field.type in kinds}
    assert numbers == {*WHOLE, *NUMBERS}


@pytest.mark.parametrize(
    ("host", "joined"), [("a.example", "a.example:1"), ("::1", "[::1]:1"), ("[::]", "[::]:1")], ids=str
)
def test_addresses(host: str, joined: str) -> None:
    assert join_address(host, 1) == joined


def test_workers_that_share_the_cpu_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lqhq.server.config.serve_config.cpu_count", lambda: 8)
    assert ServeConfig().engine_threads is None
    assert ServeConfig(devices=("cpu", "cuda", "cpu")).engine_threads == 4
    assert ServeConfig(devices=("cpu",) * 9).engine_threads == 1
    assert ServeConfig(devices=("cpu", "cpu"), threads=3).engine_threads == 3
