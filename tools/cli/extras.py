"""Which optional parts of lqhq are installed, from package metadata alone: nothing is imported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

from lqhq.runtime.errors import EngineError

__all__ = ["Package", "declared_extras", "package_state", "require_extra"]

REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?")
EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")
DEVELOPMENT = "dev"  # for working on lqhq, not with it


@dataclass(frozen=True, slots=True)
class Package:
    """An installed or missing package. `version` is None where it is missing; `least` may be empty."""

    name: str
    version: str | None
    least: str

    @property
    def fits(self) -> bool:
        return self.version is not None and _release(self.version) >= _release(self.least)

    @property
    def text(self) -> str:
        if self.version is None:
            return f"{self.name} is missing"
        return f"{self.name} {self.version}" + ("" if self.fits else f" is older than {self.least}")


def declared_extras(requirements: Sequence[str] | None = None) -> dict[str, list[Package]]:
    """Packages by extra, as lqhq's own metadata declares them (or `requirements`, in the same form)."""
    extras: dict[str, list[Package]] = {}
    for line in metadata.requires("lqhq") or [] if requirements is None else requirements:
        extra, match = EXTRA.search(line), REQUIREMENT.match(line)
        if extra is None or match is None or extra[1] == DEVELOPMENT:
            continue
        extras.setdefault(extra[1], []).append(package_state(match[1], _least(match[2])))
    return extras


def package_state(name: str, least: str = "") -> Package:
    """What is installed of `name`; `least` is the smallest version that will do."""
    try:
        return Package(name, metadata.version(name), least)
    except metadata.PackageNotFoundError:
        return Package(name, None, least)


def _least(specifier: str) -> str:
    bounds = (part.strip() for part in specifier.split(","))
    return next((bound[2:].strip() for bound in bounds if bound.startswith(">=")), "")


def _release(version: str) -> tuple[int, ...]:
    """The numbers before any suffix: 2.13.0+cpu is (2, 13, 0). Enough for `>=` on releases."""
    return tuple(int(number) for number in re.findall(r"\d+", re.split(r"[+a-z-]", version)[0]))


def require_extra(command: str, extra: str, *, of: Sequence[str] = ()) -> None:
    """Raise `EngineError` with what installs the packages that `command` needs of an extra; `of`: of these alone."""
    packages = [package for package in declared_extras().get(extra, []) if not of or package.name in of]
    missing = [package for package in packages if not package.fits]
    if missing:
        raise EngineError(
            command,
            found=", ".join(package.text for package in missing),
            expected="what this command needs",
            mend=f"Install it, in lqhq's source folder: pip install '.[{extra}]'.",
        )
