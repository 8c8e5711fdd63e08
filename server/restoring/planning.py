"""What a request will be, told from the header of its image: forms, tiles, calls, bytes. No pixel is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from lqhq.runtime.autotile import Choice
from lqhq.runtime.errors import LimitError
from lqhq.runtime.geometry import Size
from lqhq.runtime.image_form import ImageForm
from lqhq.runtime.latent_plan import LatentChoice
from lqhq.runtime.restore_options import prior_of
from lqhq.server.admission.forecast import Calls, forecast
from lqhq.server.admission.predicted import request_bytes
from lqhq.server.models.served_model import ServedModel
from lqhq.server.restoring.ask import Ask
from lqhq.server.restoring.deliveries import check_delivery, result_dtype, worked_dtype
from lqhq.server.restoring.pictures import check_mask, picture_bytes, picture_form

__all__ = ["Bounds", "Plan", "plan_ask"]

TRIES = 3  # plans for less memory each, where what comes on top of a plan does not fit beside it


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Pixels of an image and of a result; bytes of all requests; `batches` of `batch` works are out at once."""

    max_pixels: int
    max_result_pixels: int
    memory: int
    batches: int
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`image` is what came, `worked` what is restored, `result` what is answered.

    `bytes` are taken from when the request is let in until it is answered. `alone`: the model's engines are needed by
    no other request meanwhile.
    """

    image: ImageForm
    worked: ImageForm
    result: ImageForm
    choice: Choice | LatentChoice
    calls: Calls
    bytes: int
    alone: bool


def plan_ask(ask: Ask, served: ServedModel, bounds: Bounds) -> Plan:
    """Raises what `Restorer.restore` raises for wrong options, and `ImageError`, `LimitError`. Nothing is allocated."""
    options, planner, manifest = ask.options, served.planner, served.bundle.manifest
    image = picture_form(ask.image, bounds.max_pixels)
    planner.check(
        masked=ask.mask is not None,
        schedule=options.schedule,
        blend=options.blend,
        prior=options.prior,
        color_fix=options.color_fix,
        prompt=options.prompt,
        tagger=options.tagger,
        rules=options.rules,
    )
    dtype = result_dtype(image.dtype, ask.delivery)
    worked = image._replace(dtype=worked_dtype(image.dtype, dtype))
    finished = planner.result_form(worked, rules=options.rules)
    _check_result(finished, bounds)
    result = finished._replace(dtype=dtype)
    check_delivery(ask.delivery, result)
    coded = picture_bytes(ask.image) + result.nbytes
    coded += 0 if worked == image else image.nbytes
    coded += 0 if result == finished else finished.nbytes
    if ask.mask is not None:
        coded += check_mask(ask.mask, Size(image.height, image.width), bounds.max_pixels)
    choice, size_bytes = _choice(ask, served, worked, coded, bounds)
    schedule = planner.schedule(options.schedule)
    words = () if manifest.prompt is None else (*(["tag"] if options.tagger else []), "text")
    calls = forecast(
        served.key,
        choice,
        rows=len(schedule.rows) if schedule else 0,
        own_prior=prior_of(manifest, options.prior) == "tile",
        planes=2 if image.channels % 2 == 0 else 1,
        words=words,
    )
    alone = isinstance(choice, LatentChoice) and (choice.alone or {choice.encode, choice.decode} != {"whole"})
    return Plan(image=image, worked=worked, result=result, choice=choice, calls=calls, bytes=size_bytes, alone=alone)


def _choice(
    ask: Ask, served: ServedModel, worked: ImageForm, coded: int, bounds: Bounds
) -> tuple[Choice | LatentChoice, int]:
    """The tiles, and the bytes that the request takes with them.

    The budget is that of an idle server: what others take now decides when the request runs, never how its result
    comes out.
    """
    options, budget = ask.options, bounds.memory
    for _ in range(TRIES):
        choice = served.planner.plan(
            worked,
            schedule=options.schedule,
            tile=options.tile,
            overlap=options.overlap,
            blend=options.blend,
            prior=options.prior,
            memory=budget,
            rules=options.rules,
        )
        size_bytes = request_bytes(
            choice,
            engine_bytes=choice.engine_bytes,
            coded_bytes=coded,
            tile_bytes=choice.tile_bytes,
            held=_fed(choice, bounds),
        )
        over = size_bytes - bounds.memory
        if over <= 0 or budget <= over:
            break
        budget -= over
    return choice, size_bytes


def _fed(choice: Choice | LatentChoice, bounds: Bounds) -> int:
    """Works whose arrays are there at once: those of batches that are out. What only waits is small."""
    if isinstance(choice, LatentChoice) and choice.steps:
        return bounds.batches  # strips, the largest, run one by one
    reduction = choice.reduction if isinstance(choice, Choice) else None
    return min(bounds.batches * bounds.batch, max(len(choice.plan), len(reduction) if reduction else 0))


def _check_result(form: ImageForm, bounds: Bounds) -> None:
    if form.height * form.width > bounds.max_result_pixels:
        raise LimitError(
            "result",
            found=f"{form.width} x {form.height} pixels",
            expected=f"at most {bounds.max_result_pixels} pixels",
            mend="Send a smaller image, or parts of it.",
        )
