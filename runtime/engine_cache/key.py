"""What an engine depends on: all of it is compared before an engine is used, and named where it differs."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

import msgspec
from msgspec import Meta

from lqhq.runtime.engine_spec import EngineSpec, Flavour, Profile, Target
from lqhq.runtime.errors import EngineError
from lqhq.runtime.graph_file import GraphFile
from lqhq.runtime.manifest import Digest, Role
from lqhq.runtime.manifest_types import Name
from lqhq.runtime.precision import Precision
from lqhq.runtime.profiles import describe

__all__ = ["BUILDER", "DRIVER_MATTERS", "EngineKey", "Gpu", "Here", "VersionText", "difference", "key_of", "slot_of"]

# The version of our builder's settings. Raise it whenever an engine of the same key would come out another one.
BUILDER = 1
# Full TensorRT chooses kernels by timing them under a driver. A TensorRT-RTX engine is the same on every driver:
# its kernels are made when it is opened, and the cache of those is keyed by driver (see `side.py`).
DRIVER_MATTERS: frozenset[Flavour] = frozenset({"tensorrt"})
# A TensorRT-RTX engine names the compute capabilities that it runs on; any GPU of them will do.
PORTABLE: frozenset[Flavour] = frozenset({"tensorrt-rtx"})
PROFILES_SHOWN = 4

VersionText = Annotated[str, Meta(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}$")]
Plain = Annotated[str, Meta(pattern=r"^[ -~]{1,128}$")]  # printable ASCII: it is shown


class Gpu(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A GPU as engines tell them apart: its name, and its compute capability such as sm89."""

    name: Plain
    sm: Target

    def __str__(self) -> str:
        return f"{self.name} ({self.sm})"


class EngineKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that decides what an engine is. `gpu` is None where `targets` are given, `driver` where none matters.

    `driver` is the major version of the GPU's driver, `platform` the operating system and the processor's architecture.
    """

    bundle: Name
    role: Role
    precision: Precision
    graph: Digest
    flavour: Flavour
    profiles: Annotated[tuple[Profile, ...], Meta(min_length=1, max_length=16)]
    targets: Annotated[tuple[Target, ...], Meta(max_length=16)] = ()
    gpu: Gpu | None = None
    version: VersionText
    builder: Annotated[int, Meta(ge=1, le=1 << 16)]
    platform: Plain
    driver: VersionText | None = None

    def __str__(self) -> str:
        return f"{self.bundle} {self.role} {self.precision} for {self.flavour}"


def _platform() -> str:
    return f"{platform.system().lower()}-{platform.machine().lower()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """What of this machine decides which engines it can use. `versions` are those of the flavours installed.

    `gpu` and `driver` ("570" or "570.86.15") are None on a machine without a GPU.
    """

    versions: Mapping[Flavour, str]
    gpu: Gpu | None = None
    driver: str | None = None
    builder: int = BUILDER
    platform: str = field(default_factory=_platform)


def key_of(graph: GraphFile, spec: EngineSpec, here: Here) -> EngineKey:
    """The key of the engine of `graph` that `spec` asks for on this machine.

    Raises `EngineError` where the flavour is not installed, or neither targets nor a GPU say what to build for.
    """
    version = here.versions.get(spec.flavour)
    if version is None:
        raise EngineError(
            spec.flavour,
            found="it is not installed here",
            expected=f"{spec.flavour}, to build or open its engines",
            mend="`lqhq doctor` says how to install it.",
        )
    if not spec.targets and here.gpu is None:
        raise EngineError(
            spec.flavour,
            found="no GPU and no targets",
            expected="one of them, to know what the engine is for",
            mend="Name the GPUs that it will run on: --target sm86,sm89,sm120",
        )
    asked = spec.targets
    if not asked and here.gpu is not None and spec.flavour in PORTABLE:
        asked = (here.gpu.sm,)
    return EngineKey(
        bundle=graph.bundle,
        role=graph.role,
        precision=graph.precision,
        graph=graph.digest,
        flavour=spec.flavour,
        profiles=spec.profiles,
        targets=tuple(sorted(set(asked), key=lambda target: int(target[2:]))),
        gpu=None if asked else here.gpu,
        version=version,
        builder=here.builder,
        platform=here.platform,
        driver=driver_of(spec.flavour, here),
    )


def driver_of(flavour: Flavour, here: Here) -> str | None:
    """The major version of the driver, where engines of this flavour depend on it."""
    return here.driver.split(".")[0] if here.driver is not None and flavour in DRIVER_MATTERS else None


def slot_of(key: EngineKey) -> str:
    """The name of what was asked for: whatever makes another engine of the same request (a version, a driver) is out.

    It begins readable and ends in 16 hexadecimal digits of the SHA-256 of graph, profiles, targets and GPU.
    """
    asked = msgspec.json.encode([key.graph, key.profiles, key.targets, key.gpu])
    digest = hashlib.sha256(asked).hexdigest()[:16]
    return f"{key.bundle}.{key.role}.{key.precision}.{key.flavour}.{digest}"


def difference(have: EngineKey, want: EngineKey) -> str | None:
    """The first field in which an engine's key is not the wanted one, with both values; None where all are equal."""
    for name, told in TOLD.items():
        if getattr(have, name) != getattr(want, name):
            return told(have, want)
    # A field without words of its own would otherwise be a difference that nobody sees.
    return None if have == want else "its key differs in a field without a name"


def _profiles(key: EngineKey, other: EngineKey) -> str:
    shown = [describe(profile) for profile in key.profiles]
    if shown == [describe(profile) for profile in other.profiles]:  # which leaves out what they are tuned for
        shown = [
            f"{text} tuned for {p.height.best}x{p.width.best}@{p.batch.best}"
            for text, p in zip(shown, key.profiles, strict=True)
        ]
    return ", ".join(shown[:PROFILES_SHOWN]) + (", ..." if len(shown) > PROFILES_SHOWN else "")


def _targets(key: EngineKey) -> str:
    return ", ".join(key.targets) or "no named targets"


TOLD: dict[str, Callable[[EngineKey, EngineKey], str]] = {
    "bundle": lambda have, want: f"of bundle {have.bundle}, this is {want.bundle}",
    "role": lambda have, want: f"of role {have.role}, this is {want.role}",
    "precision": lambda have, want: f"in {have.precision}, asked for {want.precision}",
    "flavour": lambda have, want: f"built by {have.flavour}, this is {want.flavour}",
    "graph": lambda have, want: f"built from graph {have.graph[:12]}, this is {want.graph[:12]}",
    "profiles": lambda have, want: f"for profiles {_profiles(have, want)}, asked for {_profiles(want, have)}",
    "targets": lambda have, want: f"for {_targets(have)}, asked for {_targets(want)}",
    "gpu": lambda have, want: f"for {have.gpu or 'no one GPU'}, this is {want.gpu or 'no GPU'}",
    "version": lambda have, want: f"built by {have.flavour} {have.version}, this is {want.version}",
    "builder": lambda have, want: f"built with settings {have.builder}, this has {want.builder}",
    "platform": lambda have, want: f"for {have.platform}, this is {want.platform}",
    "driver": lambda have, want: f"for driver {have.driver or 'unknown'}, this is {want.driver or 'unknown'}",
}
