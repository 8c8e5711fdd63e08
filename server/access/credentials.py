"""TLS: the server's certificate, and the authority that its clients' certificates must be of.

Certificates are looked at again when a connection begins, so renewed files count without a restart.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import grpc

from lqhq.runtime.errors import OptionError
from lqhq.server.config.serve_config import ServeConfig

__all__ = ["server_credentials"]

MAX_BYTES = 1 << 20
MEND = "Give PEM files: the certificate with its chain, and its key without a passphrase."


class _Files(NamedTuple):
    """The bytes of the PEM files; `authority` is None where clients need no certificate."""

    certificate: bytes
    key: bytes
    authority: bytes | None


def server_credentials(config: ServeConfig, log: Callable[..., None]) -> grpc.ServerCredentials | None:
    """What `add_secure_port` takes; None where the configuration has no certificate.

    With `tls_client_ca` a client needs a certificate signed by one of it. Raises `OptionError`, which names the file,
    where one cannot be read, is no PEM, or certificate and key do not belong together.
    """
    if config.tls_cert is None:
        return None
    renewed = _Renewed(config, log)
    return grpc.dynamic_ssl_server_credentials(
        _told(renewed.files),
        renewed,  # type: ignore[arg-type]  # the stubs do not know that None means no change
        require_client_authentication=config.tls_client_ca is not None,
    )


class _Renewed:
    """Called by gRPC, on threads of its own, when a connection begins. New files that are wrong leave the old ones."""

    def __init__(self, config: ServeConfig, log: Callable[..., None]) -> None:
        self._config, self._log = config, log
        self._seen = _looks(config)
        self.files = _checked(config)

    def __call__(self) -> grpc.ServerCertificateConfiguration | None:
        looks = _looks(self._config)
        if looks == self._seen:
            return None
        try:
            files = _checked(self._config)
        except OptionError as error:
            self._log("tls", fault=str(error), kept="the certificates read before")
            self._seen = looks
            return None
        self._seen, self.files = looks, files
        self._log("tls", renewed=str(self._config.tls_cert))
        return _told(files)


def _told(files: _Files) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(files.key, files.certificate)], files.authority)


def _looks(config: ServeConfig) -> list[tuple[int, int, int]]:
    """What changes when a file does; a missing one is zeros."""
    looks = []
    for path in (config.tls_cert, config.tls_key, config.tls_client_ca):
        try:
            found = None if path is None else path.stat()
        except OSError:
            found = None
        looks.append((0, 0, 0) if found is None else (found.st_ino, found.st_size, found.st_mtime_ns))
    return looks


def _checked(config: ServeConfig) -> _Files:
    """The files, which fit one another."""
    certificate, key = _read("tls_cert", config.tls_cert), _read("tls_key", config.tls_key)
    authority = None if config.tls_client_ca is None else _read("tls_client_ca", config.tls_client_ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with os.fdopen(os.memfd_create("lqhq-tls"), "wb", buffering=0) as pair:  # the module takes files only
        pair.write(certificate + b"\n" + key)
        try:
            context.load_cert_chain(f"/proc/self/fd/{pair.fileno()}", password="")
        except (OSError, ValueError) as error:  # SSLError is an OSError
            raise _fault("tls_cert", config.tls_cert, f"no pair with {config.tls_key}: {_reason(error)}") from error
    if authority is not None:
        try:
            context.load_verify_locations(cadata=authority.decode("ascii"))
        except (ssl.SSLError, ValueError) as error:
            raise _fault("tls_client_ca", config.tls_client_ca, _reason(error)) from error
    return _Files(certificate, key, authority)


def _read(field: str, path: Path | None) -> bytes:
    assert path is not None  # the configuration has seen to it
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _fault(field, path, error.strerror or str(error)) from error
    if b"-----BEGIN " not in data or len(data) > MAX_BYTES:
        raise _fault(field, path, "no PEM block" if len(data) <= MAX_BYTES else f"more than {MAX_BYTES} bytes")
    return data


def _reason(error: Exception) -> str:
    return str(getattr(error, "reason", None) or error).replace("_", " ").lower()


def _fault(field: str, path: Path | None, found: str) -> OptionError:
    return OptionError(f"{field} {path}", found=found, expected="a PEM file that fits the others", mend=MEND)
