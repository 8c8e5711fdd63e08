"""What the bytes of a run depend on, kept beside its results: a run is only ever continued with the same."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from lqhq.runtime.errors import OptionError
from lqhq.runtime.manifest_types import Strict
from lqhq.runtime.synthesis.strength import StrengthRange
from lqhq.runtime.synthesis.whole_file import write_whole

__all__ = ["SETTINGS", "Settings", "read_settings", "require_same", "versions", "write_settings"]

SETTINGS = "settings.json"
PACKAGES = ("lqhq", "numpy", "onnxruntime", "pyvips")  # whose releases may round or draw otherwise
LARGEST = 1 << 20  # bytes; it takes a kilobyte


class Settings(Strict, frozen=True, kw_only=True):
    """All that pairs depend on besides the images themselves. Digests are SHA-256, in hexadecimal.

    bundle: of its manifest, which holds those of its files. degradation: a name, or that of a file;
    `degradation_sha256`: of all its numbers. inputs: of the images' names in their order. shard_bytes: None for a
    folder. memory: what tiles are chosen for, in bytes, whatever is free. threads: of one worker; their number may
    change the rounding.
    """

    format: Literal["lqhq-synthesis"] = "lqhq-synthesis"
    version: Literal[1] = 1
    bundle: str
    seed: Annotated[int, Meta(ge=0)]
    count: Annotated[int, Meta(ge=1)]
    strength: tuple[float, float]
    degradation: str
    degradation_sha256: str
    scale: Annotated[int, Meta(ge=1)]
    channel_order: Literal["rgb", "bgr"]
    with_hq: bool
    shard_bytes: Annotated[int, Meta(ge=1)] | None = None
    memory: Annotated[int, Meta(ge=1)]
    precision: str
    threads: Annotated[int, Meta(ge=1)]
    inputs: str
    versions: dict[str, str]

    @property
    def strengths(self) -> StrengthRange:
        return StrengthRange(*self.strength)


def versions() -> dict[str, str]:
    """The installed releases of what computes the bytes."""
    return {name: metadata.version(name) for name in PACKAGES}


def write_settings(out: Path, settings: Settings) -> None:
    """Write them into `out`. Raises `ImageError`."""
    write_whole(out, out / SETTINGS, msgspec.json.format(msgspec.json.encode(settings), indent=1) + b"\n")


def read_settings(out: Path) -> Settings | None:
    """Those of the run whose results are in `out`, or None where there are none. Raises `OptionError`."""
    path = out / SETTINGS
    if not path.exists():
        return None
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(LARGEST), type=Settings)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise OptionError(
            str(path),
            found=str(error),
            expected="the settings of an earlier run",
            mend="Give another -o; what is there cannot be continued.",
        ) from error


def require_same(found: Settings, settings: Settings, out: Path) -> None:
    """Raise `OptionError` where a run in `out` was made with other settings, naming the first that differs."""
    for field in settings.__struct_fields__:
        there, asked = getattr(found, field), getattr(settings, field)
        if there != asked:
            raise OptionError(
                str(out),
                found=f"pairs made with {field} {there!r}",
                expected=f"{asked!r}, as now",
                mend="Continue with the settings of its settings.json, or give another -o.",
            )
