"""Which shapes the engines of a bundle take: all that a plan needs to know of its sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from lqhq.runtime.engine_spec import Profile
from lqhq.runtime.manifest import Manifest
from lqhq.runtime.session import Session
from lqhq.runtime.session_pool import SessionPool

__all__ = ["EngineShapes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineShapes:
    """A value that may be sent to another process. Of engines that take any shape there is nothing to say.

    `limits` is the side of the largest square, in pixels of the graph's input, by role; `profiles` the shapes that
    engines were built for, by role; `segmented` the roles that may be run in segments.
    """

    limits: Mapping[str, int] = field(default_factory=dict)
    profiles: Mapping[str, tuple[Profile, ...]] = field(default_factory=dict)
    segmented: frozenset[str] = frozenset()

    @classmethod
    def of(cls, sessions: Mapping[str, Session], manifest: Manifest) -> Self:
        """What `sessions`, by role, take. Of a pool's sessions those count that were ever open; none is opened."""
        if isinstance(sessions, SessionPool):
            return cls(profiles=sessions.profiles, segmented=frozenset(manifest.segments))
        limited = {role: (one.largest, one.profiles) for role, one in sessions.items() if one.largest is not None}
        return cls(
            limits={role: largest for role, (largest, _) in limited.items()},
            profiles={role: profiles for role, (_, profiles) in limited.items()},
        )
