"""Opens the sessions of a bundle: all at once, or for latent models, whose stages follow one another, when needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import cast, get_args

from lqhq.runtime.bundle import Bundle
from lqhq.runtime.engine_spec import Flavour, Profile, Range
from lqhq.runtime.engines import open_session, release_shared
from lqhq.runtime.engines.setup import Setup
from lqhq.runtime.machine import give_back
from lqhq.runtime.manifest import Manifest, Role
from lqhq.runtime.profiles import default_profiles, in_latents, takes_image
from lqhq.runtime.segments import segment_role
from lqhq.runtime.session import Session
from lqhq.runtime.session_pool import SessionPool

__all__ = ["close_sessions", "engine_profiles", "give_back_all", "open_sessions"]


def open_sessions(
    bundle: Bundle, engine: str, precision: str, setup: Setup, *, thrifty: bool = False
) -> Mapping[str, Session]:
    """Sessions by role; `setup.profiles` are what was asked for. Raises as `open_session` and `Bundle.graph` do.

    `thrifty` holds one of a latent model's sessions at a time, whatever the memory.
    """
    manifest = bundle.manifest
    asked = setup.profiles

    def opened(role: Role) -> Session:
        profiles = engine_profiles(manifest, role, engine, asked)
        own = replace(setup, profiles=profiles, keep=_shared(manifest, role))
        return open_session(engine, bundle.graph(role, precision), own)

    if manifest.latent is None:
        with ExitStack() as opening:
            sessions: dict[str, Session] = {role: opening.enter_context(opened(role)) for role in manifest.graphs}
            opening.pop_all()
        return sessions

    segments = {
        segment_role(role, index): (role, index)
        for role, parts in manifest.segments.items()
        for index in range(len(parts))
    }

    def named(name: str) -> Session:
        if name not in segments:
            return opened(cast(Role, name))
        # Strips are of any height, so no engine that was built for shapes runs them.
        device = setup.device or ("auto" if engine in get_args(Flavour) else None)
        own = replace(setup, profiles=(), keep=frozenset(), device=device, turns=True)
        return open_session("onnx", bundle.segment(*segments[name]), own)

    pool = SessionPool((*manifest.graphs, *segments), named, thrifty=thrifty, give_back=give_back_all)
    # One is opened at once, so that a missing engine or device is told before the first image; all of those that were
    # built for shapes are, since tiles are chosen by them.
    with ExitStack() as opening:
        opening.callback(pool.close)
        for role in manifest.graphs if engine in get_args(Flavour) else ("encode",):
            pool[role]
        opening.pop_all()
    return pool


def close_sessions(sessions: Mapping[str, Session]) -> None:
    """Close all; of a pool those that are open: to walk over it would open the others."""
    if isinstance(sessions, SessionPool):
        sessions.close()
        return
    for session in sessions.values():
        session.close()


def engine_profiles(manifest: Manifest, role: Role, engine: str, asked: Sequence[Profile] = ()) -> tuple[Profile, ...]:
    """Those asked for, or the bundle's own for an engine that is built for shapes; else none.

    Sides that are asked for are network pixels; those of latent models' graphs are latents.
    """
    if engine not in get_args(Flavour):
        return ()
    if not asked:
        return default_profiles(manifest, role)
    if takes_image(manifest.graphs[role]["fp32"].inputs):
        return tuple(asked if manifest.latent is None else in_latents(asked, manifest.latent.factor))
    one = Range(1, 1, 1)  # a graph of vectors has no sides: of the profiles the batches are left
    return tuple(dict.fromkeys(Profile(batch=profile.batch, height=one, width=one) for profile in asked))


def _shared(manifest: Manifest, role: Role) -> frozenset[str]:
    """Outputs that all tiles of an image take as an input: they stay where the engine computes."""
    graphs = [graph for variants in manifest.graphs.values() for graph in variants.values()]
    shared = {name for graph in graphs for name, tensor in graph.inputs.items() if tensor.per == "image"}
    return frozenset(shared.intersection(*(graph.outputs for graph in manifest.graphs[role].values())))


def give_back_all() -> None:
    """Give back to the system what segments left for one another, and what was freed."""
    release_shared()
    give_back()
