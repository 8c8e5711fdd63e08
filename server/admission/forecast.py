"""Which calls a request will make, told from its plan before anything runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from lqhq.runtime.autotile import Choice
from lqhq.runtime.geometry import Size
from lqhq.runtime.latent_plan import LatentChoice
from lqhq.runtime.segment_plan import Step
from lqhq.runtime.segments import segment_role
from lqhq.server.batching.batch_key import BatchKey, Model

__all__ = ["Calls", "forecast"]

Calls = Mapping[BatchKey, int]  # how many of each


def forecast(
    model: Model,
    choice: Choice | LatentChoice,
    *,
    rows: int,
    own_prior: bool = False,
    planes: int = 1,
    words: Sequence[str] = (),
) -> Calls:
    """The calls of one image in `choice`, as its Jobs will make them.

    `rows` are those of the schedule, 0 where the bundle has none; `own_prior` says that each tile has its own prior;
    `planes` is 2 for an image whose alpha is restored as well. `words` are the roles that make the condition of the
    whole image, once each.
    """
    calls = Counter[BatchKey]()
    if isinstance(choice, LatentChoice):
        for role, form in (("encode", choice.encode), ("decode", choice.decode)):
            if form == "whole":
                _add(calls, model, role, choice.plan.canvas, 1)
            else:
                _add_strips(calls, model, role, choice.steps[role])
        _add(calls, model, "denoise", choice.plan.tile, len(choice.plan) * rows)
    elif choice.reduction is None:
        _add(calls, model, "denoise", choice.plan.tile, len(choice.plan) * rows)
    else:
        _add(calls, model, "reduce", choice.reduction.tile, len(choice.reduction))
        _add(calls, model, "encode", Size(0, 0), len(choice.plan) if own_prior else 1)
        _add(calls, model, "decode", choice.plan.tile, len(choice.plan))
    for key in calls:
        calls[key] *= planes
    for role in words:
        _add(calls, model, role, Size(0, 0), 1)
    return calls


def _add(calls: Counter[BatchKey], model: Model, role: str, size: Size, count: int) -> None:
    calls[BatchKey(model, role, size.height, size.width)] += count


def _add_strips(calls: Counter[BatchKey], model: Model, role: str, steps: Sequence[Step]) -> None:
    for index, step in enumerate(steps):
        across = step.x_size.pixels if step.segment.kind == "attention" else step.x_size.width
        for at in range(step.count):
            strip = step.strip(at)
            _add(calls, model, segment_role(role, index), Size(strip.last - strip.first, across), 1)
