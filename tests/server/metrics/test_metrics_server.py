"""The page over HTTP, asked for nicely and otherwise."""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lqhq.runtime.errors import OptionError
from lqhq.server.metrics.metrics import Metrics
from lqhq.server.metrics.metrics_server import MAX_CONNECTIONS, MAX_HEAD, MetricsServer

LIMIT_S = 0.5


@pytest.fixture
def port() -> Iterator[int]:
    server = MetricsServer(Metrics().page, "127.0.0.1", 0, limit_s=LIMIT_S)
    yield server.start()
    server.close()
    server.close()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def said(port: int, data: bytes) -> bytes:
    """All that comes back; empty where the connection is just closed."""
    with connected(port) as one:
        one.sendall(data)
        try:
            return one.makefile("rb").read()
        except ConnectionResetError:
            return b""


def page(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        assert reply.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return str(reply.read().decode())


def test_a_scrape(port: int) -> None:
    names = {family.name for family in text_string_to_metric_families(page(port))}
    assert {"nv_inference_count", "lqhq_open_rpcs"} <= names
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics?name[]=x", timeout=10) as reply:
        assert reply.status == 200


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET / HTTP/1.1", 404),
        (b"GET /metrics/../x HTTP/1.1", 404),
        (b"POST /metrics HTTP/1.1", 405),
        (b"HEAD /metrics HTTP/1.1", 405),
        (b"GET /metrics", 400),
        (b"GET /metrics HTTP/2", 400),
        (b"\xff\x00", 400),
        (b"", 400),
    ],
    ids=str,
)
def test_refused(port: int, request_line: bytes, status: int) -> None:
    assert said(port, request_line + b"\r\n\r\n").startswith(f"HTTP/1.1 {status} ".encode())
    page(port)


def test_more_than_a_head_is_not_read(port: int) -> None:
    assert said(port, b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 4 * MAX_HEAD + b"\r\n\r\n") == b""
    assert said(port, b"GET /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_who_sends_slowly_is_cut_off_and_holds_up_nobody(port: int) -> None:
    with connected(port) as slow:
        began = time.monotonic()
        slow.sendall(b"GET")
        page(port)
        assert slow.recv(1) == b""  # closed by the server
        assert LIMIT_S / 2 < time.monotonic() - began < 5


def test_no_more_than_so_many_at_once() -> None:
    server = MetricsServer(Metrics().page, "127.0.0.1", 0, limit_s=60)
    port = server.start()
    held = [connected(port) for _ in range(MAX_CONNECTIONS)]  # accepted in turn, so before the next one
    assert said(port, b"") == b""
    for one in held:
        one.close()
    for _ in range(200):
        if said(port, b"GET /metrics HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 "):
            break
        time.sleep(0.02)
    else:
        pytest.fail("the places were not given back")
    server.close()


def test_a_port_that_is_taken_is_named(port: int) -> None:
    with pytest.raises(OptionError, match=f"127.0.0.1:{port}"):
        MetricsServer(Metrics().page, "127.0.0.1", port).start()


def test_an_address_that_is_none_is_named() -> None:
    with pytest.raises(OptionError, match="metrics_port"):
        MetricsServer(Metrics().page, "a..b" + "x" * 80, 0).start()


def test_closed_before_it_began() -> None:
    MetricsServer(Metrics().page, "127.0.0.1", 0).close()


def test_closing_ends_who_is_there() -> None:
    server = MetricsServer(Metrics().page, "127.0.0.1", 0)
    with connected(server.start()) as waiting:
        time.sleep(0.05)
        server.close()
        with suppress(ConnectionResetError):
            assert waiting.recv(1) == b""
