"""What was done, after all defaults."""

from __future__ import annotations

from lqhq.runtime.autotile import Choice
from lqhq.runtime.latent_plan import LatentChoice
from lqhq.runtime.restore_options import blend_of, colour_of, prior_of, rules_of
from lqhq.server.models.served_model import ServedModel
from lqhq.server.restoring.ask import Ask, Outcome, Times
from lqhq.server.restoring.deliveries import form_told
from lqhq.server.restoring.planning import Plan

__all__ = ["outcome_of"]


def outcome_of(ask: Ask, served: ServedModel, plan: Plan, *, works: int, times: Times) -> Outcome:
    """Words are empty where the model has no such thing."""
    manifest, options = served.bundle.manifest, ask.options
    schedule = options.schedule if options.schedule is not None else manifest.default_schedule
    return Outcome(
        id=ask.id,
        model=served.name,
        version=served.version,
        bundle_sha256=served.sha256,
        result=form_told(plan.result),
        format=ask.delivery.format,
        schedule=schedule or "",
        seed=options.seed,
        tile=tile_of(plan.choice),
        overlap=plan.choice.plan.overlap * _unit(plan.choice),
        blend=blend_of(manifest, options.blend),
        rules=rules_of(manifest, options.rules),
        prior=prior_of(manifest, options.prior) if "reduce" in manifest.graphs else "",
        color_fix=colour_of(manifest, options.color_fix) or "none",
        precision=served.opened.precision,
        engine=served.key.engine,
        device=served.opened.device,
        works=works,
        times=times,
    )


def tile_of(choice: Choice | LatentChoice) -> tuple[int, int]:
    """Height and width of a tile in pixels of the image that the network sees."""
    height, width = choice.plan.tile.scaled(_unit(choice))
    return height, width


def _unit(choice: Choice | LatentChoice) -> int:
    return choice.factor if isinstance(choice, LatentChoice) else 1
