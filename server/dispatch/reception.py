"""The requests that are open, and who is told how each ends."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from lqhq.runtime.errors import EngineError
from lqhq.server.batching.batch_key import Model
from lqhq.server.batching.batcher import Batcher
from lqhq.server.batching.request import NEVER, Ending, Request
from lqhq.server.dispatch.catalogue import Catalogue
from lqhq.server.dispatch.observer import Log

__all__ = ["Ended", "Reception"]

Ended = Callable[[Ending], None]


class Reception:
    """In front of the batcher: lets in what a loaded model can run. `changed` says that somebody came or went."""

    def __init__(self, batcher: Batcher, catalogue: Catalogue, log: Log) -> None:
        self._batcher, self._catalogue, self._log = batcher, catalogue, log
        self._open: dict[Request, Ended] = {}
        self._errors: dict[Request, BaseException] = {}  # of requests that failed for another reason than a work
        self.changed = False

    def __len__(self) -> int:
        return len(self._open)

    @property
    def earliest_ms(self) -> float:
        """The earliest deadline."""
        return min((request.deadline_ms for request in self._open), default=NEVER)

    def submit(self, request: Request, ended: Ended, now_ms: float) -> None:
        """Open `request`, or say at once why not."""
        if (refusal := self._refusal(request)) is not None:
            self._hear(Ending(request, "failed", refusal), ended)
            return
        self._open[request], self.changed = ended, True
        try:
            self._batcher.submit(request, now_ms)
        except Exception as error:  # noqa: BLE001 -- a source that is wrong itself
            self._fail(request, error)

    def cancel(self, request: Request) -> None:
        """End it as cancelled, if it is open."""
        self.changed = self._batcher.cancel(request) or self.changed

    def cancel_all(self) -> None:
        for request in self._open:
            self._batcher.cancel(request)

    def fail_all(self, model: Model, error: BaseException | None = None) -> None:
        """End all requests of `model` with `error`, or since it is not loaded any more."""
        for request in [one for one in self._open if one.model == model]:
            self._fail(request, error or _not_loaded(request))

    def tell(self) -> None:
        """Tell those whose requests have ended."""
        while self._batcher.endings:
            ending = self._batcher.endings.popleft()
            error = self._errors.pop(ending.request, None)
            if error is not None:
                ending = Ending(ending.request, "failed", error)
            self._hear(ending, self._open.pop(ending.request))

    def _refusal(self, request: Request) -> BaseException | None:
        if request in self._open:
            return ValueError(f"request {request.name} is open")
        loaded = self._catalogue.find(request.model)
        if loaded is None or loaded.loading is not None:
            return _not_loaded(request)
        return loaded.error

    def _fail(self, request: Request, error: BaseException) -> None:
        if self._batcher.cancel(request):
            self._errors[request], self.changed = error, True

    def _hear(self, ending: Ending, ended: Ended) -> None:
        try:
            ended(ending)
        except Exception:  # noqa: BLE001 -- the others are to hear of theirs
            self._log("request's end not heard", request=ending.request.name, trace=traceback.format_exc())


def _not_loaded(request: Request) -> EngineError:
    return EngineError(
        f"model {request.model.bundle}",
        found=f"version {request.model.version}, which is not loaded",
        expected="a model that is served",
        mend="It may have been unloaded meanwhile; ask for the version that is served now.",
    )
