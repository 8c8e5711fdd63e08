"""Addresses, tokens and TLS: what is refused before anything is sent, and what a handshake refuses."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from lqhq.runtime.errors import OptionError
from lqhq.server.client import Client, Retry, UnreachableError
from lqhq.server.client.connection import connection

PROXY = "grpc.enable_http_proxy"


@pytest.mark.parametrize(
    ("address", "target", "near"),
    [
        ("127.0.0.1:9", "127.0.0.1:9", True),
        ("localhost", "localhost:8001", True),
        ("[::1]:70", "[::1]:70", True),
        ("[fe80::1%eth0]", "[fe80::1%eth0]:8001", False),
        ("gpu-1.example.org:443", "gpu-1.example.org:443", False),
        ("unix:/run/lqhq", "unix:/run/lqhq", True),
    ],
)
def test_addresses(address: str, target: str, near: bool) -> None:
    where = connection(address)
    assert where.address == target
    assert where.credentials is None
    assert (dict(where.options).get(PROXY) == 0) is near


@pytest.mark.parametrize(
    "address", ["", "http://gpu:8001", "gpu:", "gpu:x", "gpu:70000", "gpu:0", "a b:1", "::1", "gpu:1/path", "gpu:1:2"]
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(OptionError, match="HOST:PORT"):
        connection(address)


def test_a_token_goes_over_tls_or_to_this_machine_alone(tmp_path: Path) -> None:
    assert connection("localhost", token="secret").metadata == (("authorization", "Bearer secret"),)
    assert connection("gpu", token="secret", tls=True).metadata
    assert connection("unix:/x", token="secret").metadata
    with pytest.raises(OptionError, match="no TLS to gpu") as raised:
        connection("gpu", token="secret")
    assert "secret" not in str(raised.value)
    # No name of another machine may look like this one.
    for address in ("127.0.0.1.example.org", "localhost.example.org", "127.evil.org"):
        with pytest.raises(OptionError, match="no TLS"):
            connection(address, token="secret")


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "ümlaut", "x" * 5000])
def test_a_token_that_no_header_carries(token: str) -> None:
    with pytest.raises(OptionError, match="token: found") as raised:
        connection("localhost", token=token)
    assert not token or token not in str(raised.value)


def test_pem_files_are_read_at_once(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_bytes(b"\x00\x01")
    with pytest.raises(OptionError, match=r"ca: found .*none\.pem: No such file"):
        connection("localhost", ca=tmp_path / "none.pem")
    with pytest.raises(OptionError, match=r"ca: found .*no\.pem: no PEM block"):
        connection("localhost", ca=tmp_path / "no.pem")
    with pytest.raises(OptionError, match="cert: found one of cert and key"):
        connection("localhost", key=tmp_path / "no.pem")


def self_signed(folder: Path, name: str, alternative: str) -> tuple[Path, Path]:
    key, cert = folder / f"{name}.key", folder / f"{name}.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    words += [
        "-subj",
        f"/CN={name}",
        "-addext",
        f"subjectAltName={alternative}",
        "-keyout",
        str(key),
        "-out",
        str(cert),
    ]
    subprocess.run(words, check=True, capture_output=True, timeout=60)
    return key, cert


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """Key and certificate of a server at 127.0.0.1, of one elsewhere, of a client."""
    folder = tmp_path_factory.mktemp("certificates")
    names = {"server": "IP:127.0.0.1", "elsewhere": "DNS:example.org", "client": "DNS:client"}
    return {name: self_signed(folder, name, alternative) for name, alternative in names.items()}


@pytest.fixture
def served(start: Any, fake: Any, files: Any) -> Iterator[Callable[..., str]]:
    """`served(name, ask=False)`: the address of a server with that certificate; `ask`: it wants the client's."""
    servers = []

    def serve(name: str, *, ask: bool = False) -> str:
        key, cert = files[name]
        roots = files["client"][1].read_bytes() if ask else None
        pair = [(key.read_bytes(), cert.read_bytes())]
        server, where = start(fake, grpc.ssl_server_credentials(pair, roots, ask))
        servers.append(server)
        return str(where)

    yield serve
    for server in servers:
        server.stop(0).wait()


ONCE = Retry(tries=3, first_s=0.01, longest_s=0.01)


def test_tls_with_an_own_authority(served: Any, files: Any) -> None:
    with Client(served("server"), ca=files["server"][1], token="secret") as client:
        assert client.restore(b"abc").image == b"cba"


@pytest.mark.parametrize("access", [{"tls": True}, {"ca": "client"}, {}], ids=["unknown", "another", "without"])
def test_a_server_that_is_not_trusted(served: Any, files: Any, access: dict[str, Any], fake: Any) -> None:
    access = {name: files[value][1] if value == "client" else value for name, value in access.items()}
    with Client(served("server"), retry=ONCE, **access) as client, pytest.raises(UnreachableError, match="TLS"):
        client.restore(b"abc", timeout_s=10)
    assert fake.calls == 0


def test_a_certificate_of_another_name_is_not_tried_again(served: Any, files: Any) -> None:
    with Client(served("elsewhere"), ca=files["elsewhere"][1], retry=ONCE) as client:
        with pytest.raises(UnreachableError, match="an address that the certificate names") as raised:
            client.restore(b"abc", timeout_s=10)
        assert "tried" not in str(raised.value)


def test_a_server_that_wants_to_know_the_client(served: Any, files: Any, fake: Any) -> None:
    address, (key, cert), ca = served("server", ask=True), files["client"], files["server"][1]
    with Client(address, ca=ca, cert=cert, key=key) as client:
        assert client.restore(b"abc").image == b"cba"
    with Client(address, ca=ca, retry=ONCE) as client, pytest.raises(UnreachableError):
        client.restore(b"abc", timeout_s=10)
    assert fake.calls == 1
