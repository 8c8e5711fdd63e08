"""From a place on disk to a model that is open on every worker and has passed its checks."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple, Protocol

from lqhq.runtime.bundle import Bundle, open_bundle
from lqhq.runtime.errors import BundleError
from lqhq.runtime.manifest import manifest_from_json
from lqhq.runtime.planner import Planner
from lqhq.runtime.selfcheck import IMAGE_GOLDEN
from lqhq.server.batching.batch_key import Model
from lqhq.server.config.serve_config import ServeConfig
from lqhq.server.metrics.metrics import Metrics
from lqhq.server.models.batch_sizes import BatchSizes
from lqhq.server.models.parity_gate import is_verified, require_verified
from lqhq.server.models.repository import Place
from lqhq.server.models.served_model import ServedModel
from lqhq.server.workers.opening import Opened, Opening

__all__ = ["Loading", "ModelOpener", "ReadBundle"]

MANIFEST = "manifest.json"


Log = Callable[..., None]  # log(event, **fields)


class Loading(Protocol):
    """What is needed of the dispatcher. Futures end with `LqhqError` where a model cannot be opened."""

    def load(self, model: Model, opening: Opening) -> Future[Opened]: ...

    def unload(self, model: Model) -> Future[None]: ...


class ReadBundle(NamedTuple):
    """An opened bundle, and the digest of its manifest."""

    bundle: Bundle
    sha256: str


class ModelOpener:
    """Opens models one way: with the engine, precision and checks of `config`."""

    def __init__(self, dispatcher: Loading, config: ServeConfig, metrics: Metrics, log: Log, sizes: BatchSizes) -> None:
        self._dispatcher, self._config, self._metrics, self._log = dispatcher, config, metrics, log
        self._sizes = sizes

    async def read(self, place: Place) -> ReadBundle:
        """The bundle at `place`, with all its digests checked. Raises `BundleError`, also for one that may not be."""
        read = await asyncio.to_thread(_read, place)
        if not self._config.allow_unverified:
            require_verified(read.bundle.manifest, self._config.precision)
        return read

    async def open(self, name: str, version: int, load: int, read: ReadBundle) -> ServedModel:
        """Open it on every worker beside what is open there. `load` counts the loads of that name.

        Raises what opening and checking raise.
        """
        config, (bundle, sha256) = self._config, read
        key = Model(name, f"{version}.{load}", config.precision, config.engine)
        # Whoever serves unverified bundles may have some that carry nothing to check.
        check = not config.allow_unverified or IMAGE_GOLDEN in bundle.manifest.files
        opening = Opening(
            path=str(bundle.folder),
            sha256=sha256,
            engine=config.engine,
            precision=config.precision,
            threads=config.engine_threads,
            cache=None if config.cache is None else str(config.cache),
            check=check,
        )
        opened = await asyncio.wrap_future(self._dispatcher.load(key, opening))
        self._sizes.add(key, bundle.manifest, opened.shapes.profiles)
        planner = Planner(
            bundle,
            lambda: opened.shapes,
            precision=opened.precision,
            say=lambda text: self._log("model said", model=name, version=version, text=text),
        )
        counters = self._metrics.model(name, version)
        counters.loaded(opened.seconds)
        return ServedModel(
            name=name,
            version=version,
            key=key,
            bundle=bundle,
            sha256=sha256,
            verified=is_verified(bundle.manifest, opened.precision),
            opened=opened,
            planner=planner,
            counters=counters,
        )

    async def close(self, served: ServedModel) -> None:
        """Close it on every worker."""
        await asyncio.wrap_future(self._dispatcher.unload(served.key))
        self._sizes.forget(served.key)


def _read(place: Place) -> ReadBundle:
    place.check()
    bundle = open_bundle(place.source)
    data = (bundle.folder / MANIFEST).read_bytes()
    if manifest_from_json(data) != bundle.manifest:  # it was replaced in between: the digest would be another bundle's
        raise BundleError(
            MANIFEST,
            found="another file than a moment ago",
            expected="a bundle at rest",
            mend="Load it again once it is copied.",
        )
    return ReadBundle(bundle, hashlib.sha256(data).hexdigest())
