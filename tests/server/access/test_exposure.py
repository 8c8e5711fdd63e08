"""Who is told what about a server that others can reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lqhq.server.access.exposure import exposure
from lqhq.server.config.serve_config import ServeConfig

TLS = {"tls_cert": Path("c"), "tls_key": Path("k")}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "[::1]", "localhost"])
def test_this_machine_alone(host: str) -> None:
    assert list(exposure(ServeConfig(host=host))) == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, ["no TLS", "no token", "metrics"]),
        ({"token_file": Path("t")}, ["reads tokens", "metrics"]),
        ({**TLS}, ["no token", "metrics"]),
        ({**TLS, "tls_client_ca": Path("a"), "metrics_port": None}, []),
        ({**TLS, "token_file": Path("t"), "metrics_port": None}, []),
    ],
)
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "restore.example"])
def test_everybody(host: str, given: dict[str, Any], told: list[str]) -> None:
    remarks = list(exposure(ServeConfig(host=host, **given)))
    assert len(remarks) == len(told)
    assert all(word in remark for word, remark in zip(told, remarks, strict=True))
