"""The models of a server from start to end: load, reload, unload, and who may use them.

A reload opens the new one beside the old and swaps them in one step; the old one is closed when the last request on it
has ended. What cannot be opened is reported and leaves everything else as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lqhq.runtime.errors import LqhqError
from lqhq.server.config.serve_config import ServeConfig
from lqhq.server.metrics.metrics import Metrics
from lqhq.server.models.batch_sizes import BatchSizes
from lqhq.server.models.entry import Entry
from lqhq.server.models.model_opener import Loading, Log, ModelOpener
from lqhq.server.models.repository import Place, Repository
from lqhq.server.models.served_model import ServedModel
from lqhq.server.models.shelf import Shelf
from lqhq.server.v2.errors import UnavailableError, UnknownModelError

__all__ = ["Models"]

UNLOADED = "unloaded"  # Triton's word
NAMED = 10  # names that an error lists


class Models:
    """For one event loop; `changed` is called on it whenever a model has become ready or has ceased to be."""

    def __init__(
        self,
        dispatcher: Loading,
        config: ServeConfig,
        metrics: Metrics,
        log: Log,
        *,
        sizes: BatchSizes,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """Raises `OptionError` for bundles that are named wrongly."""
        self._repository = Repository(config.bundles, config.model_dir)
        self._opener = ModelOpener(dispatcher, config, metrics, log, sizes)
        self._metrics, self._log, self._changed = metrics, log, changed
        self.sizes = sizes
        self._shelves: dict[str, Shelf] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._started = False

    async def start(self) -> None:
        """Open all that is there, one after another. What fails in the folder is in the index and in the log.

        Raises what was wrong with the first bundle of the command line that cannot be opened.
        """
        named, found, odd = await asyncio.to_thread(self._repository.listed)
        for name in odd:
            self._log("folder left out", folder=name, reason="a model's name has letters, digits and ._- only")
        for name in (*named, *found):
            self._shelves[name] = Shelf(name)
        for name in named:
            try:
                await self.load(name)
            except UnavailableError as error:
                cause = error.__cause__
                raise (cause if isinstance(cause, LqhqError) else error) from None
        for name in found:
            with suppress(UnavailableError, UnknownModelError):  # it is logged; or it has gone meanwhile
                await self.load(name)
        self._started = True
        self._changed()

    async def load(self, name: str) -> None:
        """Open `name` as it is on disk now; where it is served already, in the place of what is served.

        Raises `UnknownModelError`, and `UnavailableError` with the reason where it cannot be opened. It goes on where
        its caller gives up.
        """
        await asyncio.shield(self._task(self._load(name)))

    async def unload(self, name: str) -> None:
        """Take no more requests for `name`; it is closed when its last one has ended. Raises `UnknownModelError`."""
        if name not in self._shelves:
            raise self._unknown(name)
        await asyncio.shield(self._task(self._unload(self._shelves[name])))

    def index(self) -> list[Entry]:
        """All models and versions that there are, by name, the newest first."""
        return [entry for _, shelf in sorted(self._shelves.items()) for entry in shelf.entries()]

    @contextmanager
    def lease(self, name: str, version: int = 0) -> Iterator[ServedModel]:
        """The model for as long as the block runs; version 0 is the newest. "" is the only model where there is one.

        Raises `UnknownModelError`, or `UnavailableError` for one that is not ready.
        """
        if not name and len(self._shelves) == 1:
            name = next(iter(self._shelves))
        shelf = self._shelves.get(name)
        if shelf is None:
            raise self._unknown(name)
        with shelf.current(version).leased() as served:
            yield served

    def ready(self, name: str, version: int = 0) -> bool:
        """Whether such a model takes requests; no error for one that nobody knows."""
        shelf = self._shelves.get(name)
        return shelf is not None and shelf.served is not None and version in (0, shelf.served.version)

    @property
    def all_ready(self) -> bool:
        """Whether everything was tried once, and something is served. What failed does not keep the others back."""
        return self._started and any(shelf.served is not None for shelf in self._shelves.values())

    async def close(self) -> None:
        """Stop what is being loaded or closed; sessions end with their workers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _load(self, name: str) -> None:
        if name not in self._shelves:  # only what is on disk gets one: the names come from callers
            await asyncio.to_thread(self._repository.find, name)
        shelf = self._shelves.setdefault(name, Shelf(name))
        async with shelf.lock:
            place = await asyncio.to_thread(self._repository.find, name)
            old = await self._open(shelf, place)
        self._changed()
        if old is not None:
            self._task(self._retire(shelf, old))

    async def _open(self, shelf: Shelf, place: Place) -> ServedModel | None:
        """Serve what is at `place`; what was served until now."""
        shelf.begin()
        try:
            read = await self._opener.read(place)
            version = shelf.version_of(place.number, read.sha256)
            shelf.loads += 1
            served = await self._opener.open(shelf.name, version, shelf.loads, read)
        except Exception as error:
            raise self._failed(shelf, error, place) from error
        finally:
            shelf.opening = None
        seconds = round(served.opened.seconds, 3)
        self._log("model ready", model=shelf.name, version=version, seconds=seconds, sha256=served.sha256)
        return shelf.put(served)

    async def _unload(self, shelf: Shelf) -> None:
        async with shelf.lock:
            old = shelf.put(None, UNLOADED)
            if old is not None:
                self._changed()
                self._task(self._retire(shelf, old))

    async def _retire(self, shelf: Shelf, old: ServedModel) -> None:
        await old.idle()
        try:
            await self._opener.close(old)
        finally:
            shelf.retiring.remove(old)
        if old.version not in shelf.versions():
            self._metrics.forget(old.name, old.version)
        self._log("model closed", model=old.name, version=old.version)

    def _failed(self, shelf: Shelf, error: Exception, place: Place) -> UnavailableError:
        """Keep the reason, without where the server keeps its files; the log has all of it."""
        self._log("model failed", model=shelf.name, kind=type(error).__name__, error=str(error))
        reason = "a fault of the server; its log has more"
        if isinstance(error, LqhqError):
            reason = str(error)
            for path in (str(Path(place.source).resolve()), place.source):
                reason = reason.replace(path, shelf.name) if "/" in path else reason
        elif isinstance(error, MemoryError):
            reason = "memory ran out"
        shelf.reason = reason
        return UnavailableError(
            f"model {shelf.name!r}",
            found=shelf.reason,
            expected="a bundle that opens and passes its checks",
            mend="Mend the bundle, and load it again.",
        )

    def _unknown(self, name: str) -> UnknownModelError:
        names = sorted(self._shelves)
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return UnknownModelError(
            "model",
            found=repr(name[:80]) if name else "no name",
            expected=f"one of {', '.join(names[:NAMED])}{more}" if names else "a model; none is here",
            mend="The list of models (RepositoryIndex, ListModels) has their names.",
        )
