"""A manifest as a page that a person reads in ten seconds. Pure text: nothing is opened here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lqhq.runtime.manifest import (
    ColourStep,
    Composite,
    Crop,
    EnlargeSmall,
    Graph,
    Manifest,
    MaskOut,
    Pad,
    Quantize,
    Resize,
    Tensor,
)
from lqhq.runtime.precision import Plan
from lqhq.tools.cli.columns import aligned, clean, size_text
from lqhq.tools.cli.schedule_page import schedule_lines

__all__ = ["graph_bytes", "page"]

SHORT = 12  # hexadecimal digits of a digest, as version control shows them
FILTERS = {"bicubic": "bicubic, a = -0.5", "bicubic_075": "bicubic, a = -0.75"}
ISLANDS = 4  # names shown of modules in float32; --json has all
MODES = {
    "reflect": "by reflection",
    "symmetric": "by reflection with the edge pixel",
    "edge": "by repeating the edge",
}
ROUNDING = {"round": "round to the nearest integer", "truncate": "cut off the fraction"}
BLENDS = {
    "each": "neighbours are blended after every step, so they agree",
    "final": "each tile runs to its end, only pixels are blended",
}


def page(manifest: Manifest, engines: Sequence[str] = ()) -> str:
    """The whole page, ending with a newline; `engines` are the lines about those that were built on this machine."""
    sections = {
        "": _head(manifest),
        "GRAPHS": _graphs(manifest),
        "TILES, in pixels of the prepared image": _tiles(manifest),
        "SCHEDULES": schedule_lines(manifest) if manifest.schedules else ["  none: one pass, guided by a vector"],
        "LICENCES": _licences(manifest),
        "PROVENANCE": _provenance(manifest),
        "PARITY with PyTorch, at export": _parity(manifest),
        "FILES": _files(manifest),
        **({"ENGINES on this machine": list(engines)} if engines else {}),
    }
    lines = []
    for title, body in sections.items():
        lines += ["", title, *body] if title else body
    return "\n".join(lines) + "\n"


def graph_bytes(manifest: Manifest, graph: Graph) -> int:
    """Size of a graph's file and its external data."""
    return sum(manifest.files[name].bytes for name in (graph.file, *graph.external_data))


def _head(manifest: Manifest) -> list[str]:
    low, high = manifest.pixels.range
    scale = f" x{manifest.scale}" if manifest.scale != 1 else ""
    rows = [
        ("pixels", f"{manifest.pixels.order.upper()}, {low:g} to {high:g} inside the graphs"),
        ("prepare", "; ".join(_step(step) for step in manifest.prepare)),
        ("finish", "; ".join(_step(step) for step in manifest.finish)),
        *_words(manifest),
        *_starts(manifest),
        *(("memory", text) for text in _memory(manifest)),
    ]
    return [f"{manifest.name}: {manifest.task}{scale}, family {manifest.family}", *aligned(rows)]


def _words(manifest: Manifest) -> list[tuple[str, str]]:
    """What the model is told in words, and by which other rules it can run."""
    rows = []
    if manifest.baked_prompt is not None:
        rows.append(("prompt", f"fixed at export: {clean(manifest.baked_prompt)!r}"))
    if manifest.prompt is not None:
        length, template = manifest.prompt.length, manifest.prompt.template
        rows.append(("prompt", f"--prompt, {length} tokens at most, the first and last included"))
        if manifest.tagger is not None:
            rows.append(("", f"--tagger, tags of the image before it: {template!r}"))
    if manifest.original is not None:
        rows.append(("rules", "--rules original takes the sizes, rounding and tiles of the model's own program"))
    return rows


def _starts(manifest: Manifest) -> list[tuple[str, str]]:
    """How a strength chooses a schedule."""
    told = manifest.synthesis
    if told is None:
        return []
    first, last = told.schedules[0], told.schedules[-1]
    names = clean(first) if first == last else f"{clean(first)} to {clean(last)}"
    return [("strength", f"S runs the last int({told.steps} * S) steps: {names}; at most {told.most:g} if not told")]


def _memory(manifest: Manifest) -> list[str]:
    """What each role's engine takes for its tile."""
    lines = []
    for role, variants in manifest.graphs.items():
        side = manifest.reduction.preferred if role == "reduce" and manifest.reduction else manifest.tiles.preferred
        unit = "latent" if manifest.latent else "pixel"
        side //= manifest.latent.factor if manifest.latent else 1
        for precision, graph in variants.items():
            used = graph.memory
            if not used.per_pixel:
                lines.append(f"{role} {precision}: {size_text(used.fixed)}")
                continue
            squared = f" + {used.per_pair:g} per squared tile {unit}" if used.per_pair else ""
            lines.append(
                f"{role} {precision}: {size_text(used.fixed)} + {used.per_pixel:g} bytes per tile {unit}{squared}, "
                f"about {size_text(round(used.peak(side * side)))} for {side}x{side}"
            )
    return lines


def _step(step: EnlargeSmall | Resize | MaskOut | Pad | Crop | Composite | ColourStep | Quantize) -> str:
    match step:
        case Resize():
            return f"enlarge x{step.factor} ({FILTERS[step.filter]})"
        case EnlargeSmall():
            return f"images with a side below {step.side} px are enlarged to it, and their results shrunk again"
        case ColourStep():
            return f"colours of the prepared image ({step.kind})"
        case MaskOut():
            return "set the hole to zero and append it as a channel"
        case Pad():
            return (
                f"extend right and bottom {MODES[step.mode]} to multiples of {step.multiple} px, "
                f"at least {step.smallest} px"
            )
        case Crop():
            return "cut the extension away"
        case Composite():
            return "keep the given pixels outside the hole"
        case Quantize():
            return f"clamp, then {ROUNDING[step.mode]}"


def _graphs(manifest: Manifest) -> list[str]:
    lines = []
    for role, variants in manifest.graphs.items():
        for precision, graph in variants.items():
            meaning = f", pred is {graph.pred}" if graph.pred else ""
            lines.append(f"  {role} {precision}: {size_text(graph_bytes(manifest, graph))}{meaning}")
            lines += aligned([*_values("in", graph.inputs), *_values("out", graph.outputs)], indent=4)
            lines += plan_lines(graph.plan)
    return lines


def plan_lines(plan: Plan | None) -> list[str]:
    """What a graph is made of, by type, and how near to float32 it came."""
    if plan is None:
        return ["    no record of its types: engines built from it stay unverified"]
    weights = ", ".join(f"{size_text(count)} {kind}" for kind, count in plan.weights.items())
    layers = ", ".join(
        f"{count} {kind} in {dtype}" for kind, types in plan.layers.items() for dtype, count in types.items()
    )
    lines = [f"    weights {weights or 'none'}; {layers or 'no matrix operators'}"]
    if plan.islands:
        named = ", ".join(name or "all of it" for name in plan.islands[:ISLANDS])
        more = f" and {len(plan.islands) - ISLANDS} more" if len(plan.islands) > ISLANDS else ""
        lines.append(f"    in float32: {clean(named)}{more}")
    if plan.psnr is not None and plan.largest is not None:
        lines.append(
            f"    at least {plan.psnr:.1f} dB from float32; largest value on photos {plan.largest:.3g}; emulated"
        )
    return lines


def _values(label: str, tensors: Mapping[str, Tensor]) -> list[tuple[str, ...]]:
    return [
        (label, name, tensor.dtype, f"[{', '.join(map(str, tensor.shape))}]", f"one per {tensor.per}")
        for name, tensor in tensors.items()
    ]


def _tiles(manifest: Manifest) -> list[str]:
    hints = manifest.tiles
    trained = f", trained on {hints.trained} px" if hints.trained else ""
    lines = [
        f"  side {hints.preferred} px (at least {hints.smallest}, multiples of {hints.multiple}{trained}), "
        f"overlap {hints.overlap} px",
        f"  blend {hints.blend}: {BLENDS[hints.blend]}",
    ]
    if manifest.latent is not None:
        lines.append("  tiles are those of the latents; images of no more than a tile's area are one tile")
    elif hints.reach is None:
        lines.append("  a pixel depends on all of its tile: the image is run whole while memory allows")
    else:
        least = hints.overlap // 4  # the ramp's outer quarter has no weight
        lines.append(f"  one call looks {hints.reach} px around a pixel; where tiles meet it sees at least {least} px")
    if manifest.reduction is not None:
        reduction = manifest.reduction
        lines.append(
            f"  prior of the whole image: from tiles of {reduction.preferred} px that see {reduction.reach} px around "
            "their core; with --prior tile each tile has its own"
        )
    return [*lines, *(f"  tiled differs from untiled: {clean(text)}" for text in hints.deviations)]


def _licences(manifest: Manifest) -> list[str]:
    if not manifest.licences:
        return ["  unknown: the bundle names none"]
    rows = [(clean(one.part), clean(one.licence), clean(one.attribution)) for one in manifest.licences]
    return aligned(rows)


def _provenance(manifest: Manifest) -> list[str]:
    made = manifest.provenance
    rows = [(clean(source.name), size_text(source.bytes), f"sha256 {source.sha256[:SHORT]}") for source in made.sources]
    versions = ", ".join(f"{clean(name)} {clean(version)}" for name, version in made.versions.items())
    origin = f"  read as {clean(made.format)}, exported with {versions or 'unknown versions'}"
    return [*aligned(rows), f"{origin}; manifest version {manifest.version}"]


def _parity(manifest: Manifest) -> list[str]:
    if not manifest.parity:
        return ["  never compared with PyTorch"]
    head = ("what", "precision", "cases", "max abs", "p99.9", "PSNR", "SSIM", "NaN/inf", "tolerance", "verdict")
    rows = [
        (
            clean(one.what),
            one.precision,
            str(one.cases),
            f"{one.max_abs:.1e}",
            f"{one.p99_9:.1e}",
            "-" if one.psnr is None else f"{one.psnr:.1f} dB",
            "-" if one.ssim is None else f"{one.ssim:.5f}",
            str(one.nan_count),
            one.bound,
            "passed" if one.passed else "FAILED",
        )
        for one in manifest.parity
    ]
    return aligned([head, *rows])


def _files(manifest: Manifest) -> list[str]:
    rows = [
        (name, size_text(record.bytes), f"sha256 {record.sha256[:SHORT]}") for name, record in manifest.files.items()
    ]
    total = sum(record.bytes for record in manifest.files.values())
    return [*aligned(rows), f"  in all {size_text(total)}; every digest was checked"]
