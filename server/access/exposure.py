"""What an operator should know about who can reach the server."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from lqhq.server.config.serve_config import ServeConfig

__all__ = ["exposure"]


def exposure(config: ServeConfig) -> Iterator[str]:
    """Remarks for the log, none where only this machine is let in or nothing is left open."""
    if _local(config.host):
        return
    if config.tls_cert is None:
        yield f"no TLS on {config.host}: whoever is on the way reads and changes images" + (
            ", and reads tokens" if config.token_file is not None else ""
        )
    if config.token_file is None and config.tls_client_ca is None:
        yield f"no token and no client certificate on {config.host}: whoever reaches it may use and unload the models"
    if config.metrics_port is not None:
        yield f"metrics on {config.host} are for everybody, without TLS and tokens"


def _local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
