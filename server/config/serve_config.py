"""What a server is told when it starts, checked when it is made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lqhq.runtime.engines import ENGINES
from lqhq.runtime.errors import OptionError
from lqhq.runtime.machine import cpu_count
from lqhq.runtime.precision import PRECISIONS

__all__ = ["ServeConfig", "join_address"]

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
DEVICE = re.compile(r"cpu|cuda(?::[0-9]{1,3})?")
CPU_BATCH, DEVICE_BATCH = 1, 8  # larger batches save nothing on a CPU; the runtime's own bytes come from batches of one
DAY_S = 86_400.0

WORDS: Mapping[str, tuple[str, ...]] = {
    "engine": tuple(ENGINES),
    "precision": PRECISIONS,
    "log_format": ("text", "json"),
}
# Least and most. Ports: 0 is any free one. A message's end is protobuf's.
WHOLE: Mapping[str, tuple[int, int]] = {
    "port": (0, 65_535),
    "metrics_port": (0, 65_535),
    "threads": (1, 1024),
    "max_batch": (1, 1024),
    "memory": (MIB, 1 << 50),
    "priority_levels": (1, 100),
    "default_priority": (1, 100),
    "max_message_bytes": (64 * KIB, 2**31 - 1),
    "max_image_bytes": (64 * KIB, 64 * GIB),
    "max_pixels": (1, 1 << 40),
    "max_result_pixels": (1, 1 << 44),
    "max_requests": (1, 100_000),
    "max_rpcs": (1, 100_000),
    "max_streams": (1, 100_000),
    "max_connections": (1, 100_000),
    "decode_threads": (1, 256),
}
NUMBERS: Mapping[str, tuple[float, float]] = {
    "batch_window_ms": (0.0, 10_000.0),
    "max_wait_s": (0.0, DAY_S),
    "idle_s": (0.1, DAY_S),
    "send_s": (0.1, DAY_S),
    "drain_s": (0.0, DAY_S),
}
MAY_BE_NONE = frozenset({"metrics_port", "threads", "max_batch", "memory"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """Raises `OptionError`, whose `where` is the field. `read_config` makes one of flags and a file.

    bundles: `NAME=PATH`, `PATH` or "demo"; model_dir: a folder of bundles, see `docs/guide/serve.md`.
    host, port, metrics_port: 0 is any free port; no metrics are served where metrics_port is None.
    devices: one worker each, also where one is named twice. engine, precision: of every model. threads: of each worker;
    None for the engine's choice, or, where several workers share the CPU, an equal part of its cores.
    cache: folder of built engines, None for the runtime's. max_batch: None for 1 on a CPU, else 8: see `batch`.
    batch_window_ms: the most that a batch which is not full waits.
    memory: bytes for images, canvases and results of all requests; None for 0.6 of what is free at the start.
    tls_cert, tls_key: PEM; tls_client_ca: PEM of who signs clients, who then need a certificate.
    token_file: `name:token`, one a line.
    allow_unverified: bundles without a passing parity record are served, too.
    max_message_bytes: of one gRPC message; max_image_bytes: of an encoded image; max_pixels: of an image;
    max_result_pixels: of its result. max_requests: accepted and not answered; max_rpcs: calls at once;
    max_streams: calls at once of one connection; max_connections. max_wait_s: predicted wait that is still let in.
    idle_s: between two messages of an upload; send_s: one message to a slow reader; drain_s: accepted requests at the
    end. decode_threads: images decoded, planned and encoded at once.
    """

    bundles: tuple[str, ...] = ()
    model_dir: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8001
    devices: tuple[str, ...] = ("cpu",)
    engine: str = "onnx"
    precision: str = "fp32"
    threads: int | None = None
    cache: Path | None = None
    max_batch: int | None = None
    batch_window_ms: float = 2.0
    memory: int | None = None
    metrics_port: int | None = 8002
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    token_file: Path | None = None
    allow_unverified: bool = False
    priority_levels: int = 3
    default_priority: int = 2
    max_message_bytes: int = 32 * MIB
    max_image_bytes: int = 512 * MIB
    max_pixels: int = 64 * MIB
    max_result_pixels: int = GIB
    max_requests: int = 256
    max_rpcs: int = 128
    max_streams: int = 32
    max_connections: int = 256
    max_wait_s: float = 60.0
    idle_s: float = 30.0
    send_s: float = 60.0
    drain_s: float = 30.0
    decode_threads: int = 2
    log_format: str = "text"
    reflection: bool = True

    def __post_init__(self) -> None:
        for name, words in WORDS.items():
            if getattr(self, name) not in words:
                raise _fault(name, getattr(self, name), f"one of {', '.join(words)}")
        for name, (low, high) in WHOLE.items():
            value = getattr(self, name)
            if not (value is None and name in MAY_BE_NONE) and not (type(value) is int and low <= value <= high):
                raise _fault(name, value, f"a whole number from {low} to {high}")
        for name, (least, most) in NUMBERS.items():
            value = getattr(self, name)
            if type(value) not in (int, float) or not least <= value <= most:  # NaN is not at least anything
                raise _fault(name, value, f"a number from {least:g} to {most:g}")
        self._check_devices()
        self._check_pairs()

    def _check_devices(self) -> None:
        if not self.devices or not all(DEVICE.fullmatch(device) for device in self.devices):
            raise _fault("devices", self.devices, "cpu, cuda or cuda:N, at least one")

    def _check_pairs(self) -> None:
        """What fits only together."""
        if (self.tls_cert is None) != (self.tls_key is None):
            lacking = "tls_cert" if self.tls_cert is None else "tls_key"
            raise _fault(lacking, None, "a certificate and its private key, or neither")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise _fault("tls_client_ca", str(self.tls_client_ca), "tls_cert and tls_key beside it")
        if self.default_priority > self.priority_levels:
            raise _fault(
                "default_priority", self.default_priority, f"at most {self.priority_levels}, the levels there are"
            )
        if self.port == self.metrics_port != 0:
            raise _fault("metrics_port", self.metrics_port, "another port than that of gRPC")
        if not self.host or any(char.isspace() or char in "/," for char in self.host):
            raise _fault("host", self.host, "a name or an address, like 127.0.0.1, :: or 0.0.0.0")

    @property
    def batch(self) -> int:
        """The largest batch: `max_batch`, or the rule for these devices."""
        if self.max_batch is not None:
            return self.max_batch
        return CPU_BATCH if set(self.devices) == {"cpu"} else DEVICE_BATCH

    @property
    def engine_threads(self) -> int | None:
        """`threads`, or the rule for these devices."""
        sharing = self.devices.count("cpu")
        return self.threads if self.threads or sharing < 2 else max(1, cpu_count() // sharing)

    @property
    def address(self) -> str:
        """`host:port` as gRPC takes it."""
        return join_address(self.host, self.port)


def join_address(host: str, port: int) -> str:
    """`host:port`; an IPv6 address gets its brackets."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def _fault(name: str, value: Any, expected: str) -> OptionError:
    found = "nothing" if value is None else repr(value)[:200]
    return OptionError(name, found=found, expected=expected, mend="Correct the flag or the file's line.")
