"""What a server says of its models, as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from lqhq.server.client.words import word_of
from lqhq.server.protos import lqhq_v1_pb2 as pb
from lqhq.tools.cli.columns import aligned, clean, size_text

__all__ = ["as_fields", "model_lines", "model_page"]


def model_lines(models: Sequence[pb.ModelSummary]) -> list[str]:
    """One line a model: name, version, state, what it does, or why not."""
    rows = []
    for one in models:
        scale = f" x{one.scale}" if one.scale > 1 else ""
        what = one.task + scale if not one.reason else "; ".join(filter(None, (one.task + scale, one.reason)))
        rows.append([clean(one.name), str(one.version), _state(one), clean(what)])
    return aligned(rows)


def model_page(model: pb.Model) -> list[str]:
    """All about one model; of one that could not be opened, its line."""
    if not model.options:
        return model_lines([model.summary])
    summary, tiles, limits = model.summary, model.tiles, model.limits
    scale = f" x{summary.scale}" if summary.scale > 1 else ""
    formats = ", ".join(word_of(pb.ImageFormat, one) for one in limits.formats)
    rows = [
        ("state", _state(summary) + (f": {summary.reason}" if summary.reason else "")),
        ("runs", f"{model.precision} on {model.engine} {model.engine_version}, {model.device}"),
        ("verified", "yes" if model.verified else "no: served without a passing parity record"),
        ("self-check", _self_check(model)),
        ("options", ", ".join(model.options)),
        *_words(model),
        *(("schedule", _schedule(one)) for one in model.schedules),
        (
            "tiles",
            f"preferred {tiles.preferred}, multiples of {tiles.multiple} from {tiles.smallest}, "
            f"overlap {tiles.overlap}, blend {word_of(pb.Blend, tiles.blend)}, in network pixels",
        ),
        ("color fix", word_of(pb.ColorFix, model.color_fix) or "none"),
        (
            "takes",
            f"files up to {size_text(limits.max_image_bytes)}, {limits.max_pixels} pixels; results up to "
            f"{limits.max_result_pixels} pixels as {formats}",
        ),
        ("priority", f"1 (most urgent) to {limits.priority_levels}, {limits.default_priority} by default"),
        *(("parity", _parity(one)) for one in model.parity),
        *(
            ("licence", f"{one.part}: {one.licence}" + (f" ({one.attribution})" if one.attribution else ""))
            for one in model.licences
        ),
        ("bundle", model.bundle_sha256),
    ]
    head = f"{clean(summary.name)} {summary.version}: {clean(summary.task)}{scale}"
    return [head, *aligned([(key, clean(text)) for key, text in rows])]


def as_fields(message: Message) -> dict[str, Any]:
    """A message as JSON has it (protobuf's mapping), by the names of the proto; whole numbers of 64 bits are texts."""
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def _state(summary: pb.ModelSummary) -> str:
    return word_of(pb.ModelState, summary.state) or "unknown"


def _words(model: pb.Model) -> list[tuple[str, str]]:
    rows = [("mask", "needed")] if model.needs_mask else []
    if model.reads_prompt:
        rows.append(("prompt", "read" + (", and tags of the image" if model.reads_tags else "")))
    if model.baked_prompt:
        rows.append(("prompt", f"fixed at export: {model.baked_prompt!r}"))
    return rows


def _schedule(schedule: pb.Schedule) -> str:
    default = " (default)" if schedule.default else ""
    seed = ", the seed matters" if schedule.noisy else ""
    return f"{schedule.name}{default}: {schedule.about}; {schedule.calls} call(s) a tile{seed}"


def _self_check(model: pb.Model) -> str:
    if not model.HasField("self_check"):
        return "has not run"
    check = model.self_check
    return f"{'passed' if check.passed else 'FAILED'}, {check.cases} case(s) in {check.seconds:.1f} s"


def _parity(one: pb.Parity) -> str:
    verdict = "passed" if one.passed else "FAILED"
    if one.unit == "dB":
        worst = f"{one.psnr_db:.3g} dB" if one.HasField("psnr_db") else "no difference"
        bar = f"at least {one.tolerance:.3g} dB"
    else:
        worst, bar = f"{one.max_abs:.3g}", f"at most {one.tolerance:.3g}"
    return f"{one.what} {one.precision}: {verdict}, worst {worst} in {one.cases} case(s), allowed {bar}"
