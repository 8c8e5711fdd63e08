"""TLS and client certificates over real sockets: what is let in, and what must be refused."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import warnings
from pathlib import Path
from typing import Any

import grpc
import pytest

from lqhq.runtime.errors import OptionError
from lqhq.server.access.credentials import server_credentials
from lqhq.server.config.serve_config import ServeConfig


def silent(event: str, **fields: Any) -> None: ...


def config(folder: Path, name: str = "server", **given: Any) -> ServeConfig:
    return ServeConfig(tls_cert=folder / f"{name}.pem", tls_key=folder / f"{name}.key", **given)


def trusting(folder: Path, ca: str | None = "ca", own: str | None = None) -> grpc.ChannelCredentials:
    """A client that trusts `ca` and shows the certificate `own`."""
    return grpc.ssl_channel_credentials(
        root_certificates=None if ca is None else (folder / f"{ca}.pem").read_bytes(),
        private_key=None if own is None else (folder / f"{own}.key").read_bytes(),
        certificate_chain=None if own is None else (folder / f"{own}.pem").read_bytes(),
    )


async def code_of(port: int, credentials: grpc.ChannelCredentials | None, call: Any) -> grpc.StatusCode:
    """How a call ends. A handshake that fails is tried again until the time is over; UNAVAILABLE all the same."""
    target = f"127.0.0.1:{port}"
    opened = grpc.aio.insecure_channel(target) if credentials is None else grpc.aio.secure_channel(target, credentials)
    async with opened as channel:
        try:
            await call(channel, "unary_unary")
        except grpc.aio.AioRpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def codes(served: Any, call: Any, server: ServeConfig, clients: dict[str, Any]) -> dict[str, str]:
    async def all_of_them() -> dict[str, str]:
        async with served((), server_credentials(server, silent)) as port:
            return {name: (await code_of(port, client, call)).name for name, client in clients.items()}

    return asyncio.run(all_of_them())


def test_without_a_certificate_there_is_no_tls() -> None:
    assert server_credentials(ServeConfig(), silent) is None


def test_tls(served: Any, call: Any, certificates: Path) -> None:
    told = codes(
        served,
        call,
        config(certificates),
        {
            "who trusts its authority": trusting(certificates),
            "who trusts another": trusting(certificates, "other"),
            "who trusts the world's": trusting(certificates, None),
            "plain text": None,
        },
    )
    assert told == {
        "who trusts its authority": "OK",
        "who trusts another": "UNAVAILABLE",
        "who trusts the world's": "UNAVAILABLE",
        "plain text": "UNAVAILABLE",
    }


def test_client_certificates(served: Any, call: Any, certificates: Path) -> None:
    told = codes(
        served,
        call,
        config(certificates, tls_client_ca=certificates / "ca.pem"),
        {name: trusting(certificates, "ca", own) for name, own in
         {"none": None, "by its authority": "client", "expired": "expired", "by another": "stranger"}.items()},
    )  # fmt: skip
    assert told == {
        "none": "UNAVAILABLE",
        "by its authority": "OK",
        "expired": "UNAVAILABLE",
        "by another": "UNAVAILABLE",
    }


def test_an_expired_certificate_of_the_server_is_refused_by_clients(served: Any, call: Any, certificates: Path) -> None:
    told = codes(served, call, config(certificates, "expired"), {"client": trusting(certificates)})
    assert told == {"client": "UNAVAILABLE"}


def greeted(port: int, ca: Path, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> str:
    """The name in the certificate that the server shows to a new connection of that version."""
    context = ssl.create_default_context(cafile=str(ca))
    context.set_alpn_protocols(["h2"])
    context.set_ciphers("ALL:@SECLEVEL=0")  # or this side would refuse old versions by itself
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as spoken,
    ):
        shown: Any = spoken.getpeercert()
    return str(shown["subject"][0][0][1])


def test_old_tls_is_refused(served: Any, certificates: Path) -> None:
    ca = certificates / "ca.pem"

    async def try_them() -> None:
        async with served((), server_credentials(config(certificates), silent)) as port:
            for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
                assert await asyncio.to_thread(greeted, port, ca, version) == "server"
            with pytest.raises(ssl.SSLError, match=r"(?i)version|alert|EOF"):
                await asyncio.to_thread(greeted, port, ca, ssl.TLSVersion.TLSv1_1)

    asyncio.run(try_them())


def test_renewed_files_count_and_wrong_ones_do_not(served: Any, certificates: Path, tmp_path: Path) -> None:
    said: list[dict[str, Any]] = []

    def put(name: str) -> None:
        for suffix in ("pem", "key"):
            shutil.copy(certificates / f"{name}.{suffix}", tmp_path / f"new.{suffix}")
            (tmp_path / f"new.{suffix}").rename(tmp_path / f"server.{suffix}")

    async def try_them() -> list[str]:
        put("server")
        credentials = server_credentials(config(tmp_path), lambda event, **fields: said.append(fields))
        async with served((), credentials) as port:
            names = [await asyncio.to_thread(greeted, port, certificates / "ca.pem")]
            put("renewed")
            names.append(await asyncio.to_thread(greeted, port, certificates / "ca.pem"))
            shutil.copy(certificates / "client.key", tmp_path / "server.key")  # half a change
            names.append(await asyncio.to_thread(greeted, port, certificates / "ca.pem"))
            put("client")
            names.append(await asyncio.to_thread(greeted, port, certificates / "ca.pem"))
            return names

    assert asyncio.run(try_them()) == ["server", "renewed", "renewed", "client"]
    assert [sorted(line)[0] for line in said] == ["renewed", "fault", "renewed"]
    assert str(tmp_path) in said[1]["fault"]


@pytest.mark.parametrize("fault", ["missing", "no pem", "other key", "passphrase", "huge", "folder"])
def test_wrong_files_are_named(certificates: Path, tmp_path: Path, fault: str) -> None:
    pem, key = tmp_path / "a.pem", tmp_path / "a.key"
    shutil.copy(certificates / "server.pem", pem)
    shutil.copy(certificates / "server.key", key)
    if fault == "missing":
        key.unlink()
    elif fault == "no pem":
        key.write_text("hello")
    elif fault == "other key":
        shutil.copy(certificates / "client.key", key)
    elif fault == "passphrase":
        locked = ("-passout", "pass:open", "-out", str(key))
        plain = str(certificates / "server.key")
        subprocess.run(["openssl", "pkcs8", "-topk8", "-in", plain, *locked], check=True, timeout=60)
    elif fault == "huge":
        key.write_text(key.read_text() + "#" * (1 << 20))
    else:
        key.unlink()
        key.mkdir()
    with pytest.raises(OptionError) as caught:
        server_credentials(ServeConfig(tls_cert=pem, tls_key=key), silent)
    assert str(key) in str(caught.value)
    assert "PRIVATE" not in str(caught.value)


@pytest.mark.parametrize("text", ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "-----BEGIN é"])
def test_a_wrong_authority_is_named(certificates: Path, tmp_path: Path, text: str) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text(text)
    with pytest.raises(OptionError, match=r"tls_client_ca .*ca\.pem"):
        server_credentials(config(certificates, tls_client_ca=ca), silent)
