"""One name: what is served under it, what is being opened, what is being closed, and why the last try failed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from lqhq.server.models.entry import Entry, State
from lqhq.server.models.served_model import ServedModel
from lqhq.server.v2.errors import UnavailableError, UnknownModelError

__all__ = ["Shelf"]


@dataclass(slots=True, eq=False)
class Shelf:
    """`lock` is for who loads or unloads. `opening` is the version that is being opened, 0 while that is unknown.

    `version` and `sha256` are those that were served last.
    """

    name: str
    served: ServedModel | None = None
    retiring: list[ServedModel] = field(default_factory=list)
    opening: int | None = None
    reason: str = ""
    version: int = 0
    sha256: str = ""
    loads: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def begin(self) -> None:
        self.opening, self.reason = 0, ""

    def version_of(self, number: int | None, sha256: str) -> int:
        """The version of a manifest of that digest, which is what is being opened from now on.

        It is `number` where the folder has one; else one more than the last one where the manifest differs.
        """
        if number is None:
            number = self.version if self.version and sha256 == self.sha256 else self.version + 1
        self.opening = number
        return number

    def put(self, served: ServedModel | None, reason: str = "") -> ServedModel | None:
        """Serve `served` from now on; what was served until now, which is retiring."""
        old, self.served, self.reason = self.served, served, reason
        if served is not None:
            self.version, self.sha256 = served.version, served.sha256
        if old is not None:
            self.retiring.append(old)
        return old

    def versions(self) -> set[int]:
        """Those that are open."""
        return {one.version for one in (*self.retiring, *([self.served] if self.served else []))}

    def current(self, version: int) -> ServedModel:
        """What takes requests. Raises `UnavailableError` where it does not, `UnknownModelError` for other versions."""
        served = self.served
        if served is not None and version in (0, served.version):
            return served
        there = next((one for one in self.entries() if version in (0, one.version)), None)
        if there is None:
            raise UnknownModelError(
                f"model {self.name!r}",
                found=f"version {version}",
                expected=f"version {served.version}, or 0 for the newest" if served else "none: it is not served",
                mend="Leave the version out.",
            )
        raise UnavailableError(
            f"model {self.name!r}",
            found=f"a model that is {there.state}" + (f": {there.reason}" if there.reason else ""),
            expected="one that is READY",
            mend="Try again once it is; the list of models says when.",
        )

    def entries(self) -> list[Entry]:
        """One for each version, the newest first."""
        states: dict[int, State] = {}
        if self.served is not None:
            states[self.served.version] = "READY"
        if self.opening is not None:
            states.setdefault(self.opening or (0 if self.served is None else self.served.version), "LOADING")
        for one in self.retiring:
            states.setdefault(one.version, "UNLOADING")
        if not states:
            states[self.version] = "UNAVAILABLE"
        return [self._entry(version, states[version]) for version in sorted(states, reverse=True)]

    def _entry(self, version: int, state: State) -> Entry:
        known = [one for one in (self.served, *self.retiring) if one is not None and one.version == version]
        manifest = known[0].bundle.manifest if known else None
        return Entry(
            name=self.name,
            version=version,
            state=state,
            reason=self.reason if state in ("READY", "UNAVAILABLE") else "",
            task=manifest.task if manifest else "",
            scale=manifest.scale if manifest else 0,
        )
