"""Plans that were made before, for the many callers who send images of few sizes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock

from lqhq.server.models.served_model import ServedModel
from lqhq.server.restoring.ask import Ask
from lqhq.server.restoring.pictures import picture_form
from lqhq.server.restoring.planning import Bounds, Plan, plan_ask

__all__ = ["Plans"]

MOST_PLANS, MOST_TILES = 256, 64  # what is remembered stays below a megabyte


class Plans:
    """Remembers what `plan_ask` gave, for any thread: a plan takes longer than the one tile of a small image.

    Nothing else than what is in the key decides what a plan will be: a loaded model never changes, nor do `bounds`.
    """

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._known = OrderedDict[Hashable, Plan]()
        self._lock = Lock()

    def plan(self, ask: Ask, served: ServedModel) -> Plan:
        """Raises as `plan_ask`."""
        if isinstance(ask.image, bytes) or ask.mask is not None or ask.options.prompt is not None:
            return plan_ask(ask, served, self.bounds)
        options = tuple(value for name, value in ask.options.arguments().items() if name != "seed")
        key = (served.key, picture_form(ask.image, self.bounds.max_pixels), ask.delivery, options)
        with self._lock:
            plan = self._known.get(key)
        if plan is None:
            plan = plan_ask(ask, served, self.bounds)
            if len(plan.choice.plan) <= MOST_TILES:
                self._keep(key, plan)
        return plan

    def _keep(self, key: Hashable, plan: Plan) -> None:
        with self._lock:
            self._known[key] = plan
            if len(self._known) > MOST_PLANS:
                self._known.popitem(last=False)
