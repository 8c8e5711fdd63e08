"""What is told of models: from manifests, from how they were opened, from the server's limits."""

from __future__ import annotations

from lqhq.runtime.manifest import Manifest, ParityRecord
from lqhq.runtime.schedule import Schedule
from lqhq.server.config.serve_config import ServeConfig
from lqhq.server.models.entry import Entry
from lqhq.server.models.served_model import ServedModel
from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.server.v1.enum_words import number_of
from lqhq.server.v2.options import FORMATS, options_of

__all__ = ["STATES", "limits_of", "model_of", "summary_of"]

# What a server calls UNAVAILABLE is a model that could not be opened: one that was unloaded is no longer listed.
STATES = {
    "LOADING": pb.MODEL_STATE_LOADING,
    "READY": pb.MODEL_STATE_READY,
    "UNLOADING": pb.MODEL_STATE_UNLOADING,
    "UNAVAILABLE": pb.MODEL_STATE_FAILED,
}


def summary_of(entry: Entry) -> pb.ModelSummary:
    """A line of the list of models."""
    return pb.ModelSummary(
        name=entry.name,
        version=entry.version,
        state=STATES[entry.state],
        reason=entry.reason,
        task=entry.task,
        scale=entry.scale,
    )


def limits_of(config: ServeConfig) -> pb.Limits:
    """What the server takes; the same for all models."""
    return pb.Limits(
        max_image_bytes=config.max_image_bytes,
        max_pixels=config.max_pixels,
        max_result_pixels=config.max_result_pixels,
        max_message_bytes=config.max_message_bytes,
        formats=[number_of(pb.ImageFormat, form) for form in FORMATS if form != "tensor"],
        priority_levels=config.priority_levels,
        default_priority=config.default_priority,
    )


def model_of(entry: Entry, served: ServedModel, limits: pb.Limits) -> pb.Model:
    """All that is known of a model that is open."""
    manifest, opened = served.bundle.manifest, served.opened
    return pb.Model(
        summary=summary_of(entry),
        options=options_of(manifest),
        limits=limits,
        needs_mask=manifest.masked,
        reads_prompt=manifest.prompt is not None,
        baked_prompt=manifest.baked_prompt or "",
        reads_tags=manifest.tagger is not None,
        schedules=[
            _schedule(name, schedule, default=name == manifest.default_schedule)
            for name, schedule in sorted(manifest.schedules.items())
        ],
        tiles=_tiles(manifest),
        color_fix=number_of(pb.ColorFix, manifest.colour.kind if manifest.colour else "none"),
        precision=opened.precision,
        engine=served.key.engine,
        engine_version=opened.engine_version,
        device=opened.device,
        verified=served.verified,
        bundle_sha256=served.sha256,
        files=[
            pb.FileDigest(name=name, sha256=file.sha256, bytes=file.bytes)
            for name, file in sorted(manifest.files.items())
        ],
        sources=[
            pb.FileDigest(name=source.name, sha256=source.sha256, bytes=source.bytes)
            for source in manifest.provenance.sources
        ],
        licences=[
            pb.Licence(part=one.part, licence=one.licence, attribution=one.attribution) for one in manifest.licences
        ],
        made_with=manifest.provenance.versions,
        parity=[_parity(record) for record in manifest.parity],
        self_check=_self_check(served),
    )


def _schedule(name: str, schedule: Schedule, *, default: bool) -> pb.Schedule:
    noisy = schedule.start.c_noise != 0 or any(row.noisy for row in schedule.rows)
    return pb.Schedule(name=name, about=schedule.about, calls=len(schedule.rows), noisy=noisy, default=default)


def _tiles(manifest: Manifest) -> pb.TileHints:
    hints = manifest.tiles
    return pb.TileHints(
        enlarged=manifest.factor,
        multiple=hints.multiple,
        smallest=hints.smallest,
        preferred=hints.preferred,
        overlap=hints.overlap,
        blend=number_of(pb.Blend, hints.blend),
        deviations=hints.deviations,
    )


def _parity(record: ParityRecord) -> pb.Parity:
    return pb.Parity(
        what=record.what,
        precision=record.precision,
        cases=record.cases,
        max_abs=record.max_abs,
        p99_9=record.p99_9,
        psnr_db=record.psnr,
        ssim=record.ssim,
        tolerance=record.tolerance,
        unit=record.unit,
        passed=record.passed,
    )


def _self_check(served: ServedModel) -> pb.SelfCheck | None:
    checked = served.opened.checked
    return (
        None if checked is None else pb.SelfCheck(passed=checked.passed, cases=checked.cases, seconds=checked.seconds)
    )
