"""The export chain: checkpoint -> network -> recipe -> graphs -> goldens -> manifest -> parity -> bundle."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from lqhq.export.assets import copy_papers
from lqhq.export.bisect_precision import bisect_precision
from lqhq.export.family import Family, Recipe, RoleGraph, Written
from lqhq.export.foreign_text import printable
from lqhq.export.goldens import write_goldens
from lqhq.export.half import at_precision, declared_islands
from lqhq.export.half_settings import HalfSettings
from lqhq.export.heavy import give_back
from lqhq.export.judged_images import JudgedImages, judged_images
from lqhq.export.load import Model, load_model
from lqhq.export.memory import measure_memory
from lqhq.export.settings import Settings
from lqhq.export.trace import EXTERNAL_ABOVE, trace
from lqhq.export.validate import validate
from lqhq.export.validate_half import HalfReport, validate_half
from lqhq.runtime import manifest as m
from lqhq.runtime.bundle import Bundle, file_records, open_bundle, staging, write_manifest
from lqhq.runtime.errors import BundleError, CheckpointError
from lqhq.runtime.manifest import Role
from lqhq.runtime.parity import Report
from lqhq.runtime.precision import FLOATS, PRECISIONS, Precision
from lqhq.runtime.profiles import takes_image

__all__ = ["ParityError", "export_bundle"]

AGAIN = "Report this with the checkpoint's config and `lqhq doctor`."
AGAIN_HALF = (
    "Let `lqhq parity --bisect-precision` find a plan, ask less with --least-psnr, or leave this precision out."
)
VERSIONS = ("lqhq", "torch", "diffusers", "onnx", "onnxruntime")


class ParityError(CheckpointError):
    """The graph does not compute what the network computes; no bundle was written."""


def export_bundle(
    family: Family,
    checkpoint: Path,
    target: Path,
    *,
    form: str | None = None,
    config: Mapping[str, Any] | None = None,
    flags: Settings | None = None,
    precisions: Sequence[Precision] = ("fp32",),
    half: HalfSettings | None = None,
    overwrite: bool = False,
    external_above: int = EXTERNAL_ABOVE,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Path, Report]:
    """Export `checkpoint` into the bundle folder `target`, checked against PyTorch; returns it and the report.

    `config` is the content of `--config`, `flags` what was given besides; `say` hears one line per step. `precisions`
    are those of the graphs; fp32 is always among them, since parity is judged by it. `half` is how half precisions are
    made and checked. Nothing is left at `target` unless all went well. Raises `CheckpointError`, its kind
    `ParityError`, `OptionError`, `EngineError`, `BundleError`.
    """
    half = half or HalfSettings()
    model = load_model(family, checkpoint, form=form, config=config, flags=flags)
    half.check(model.recipe)
    say(f"{checkpoint}: format {model.format}, {_count(model) / 1e6:.2f} M parameters")
    for note in model.notes:
        say(f"  {note}")
    with staging(target, overwrite=overwrite) as folder, _told(target):
        make = partial(_traced, folder=folder, external_above=external_above, say=say)
        graphs: dict[Role, dict[Precision, m.Graph]] = {
            graph.role: {"fp32": make(graph, "fp32")} for graph in model.recipe.graphs
        }
        written = model.recipe.write(folder) if model.recipe.write else Written()
        if written.segments:
            count = sum(map(len, written.segments.values()))
            say(f"wrote {count} segments of {' and '.join(written.segments)}, for images that memory does not hold")
        if papers := copy_papers(checkpoint, folder):
            say(f"taking along {', '.join(papers)}")
        say("writing goldens")
        write_goldens(model.recipe, folder)
        manifest = _manifest(model, graphs, written, target, folder)
        write_manifest(folder, manifest)
        opened = open_bundle(folder, verified=None)
        say("comparing with PyTorch")
        report = validate(model.recipe, opened)
        say(report.table())
        _require(report, target)
        parity = [*report.records()]
        images: JudgedImages | None = None
        for precision in PRECISIONS:
            if precision == "fp32" or precision not in precisions:
                continue
            images = images or judged_images(model.recipe, manifest, half.photos)
            islands = _planned(model.recipe, opened, precision, half, images, say)
            for graph in model.recipe.graphs:
                exact = graphs[graph.role]["fp32"]
                graphs[graph.role][precision] = make(
                    at_precision(graph, precision, islands[graph.role]), precision, exact=exact
                )
            manifest = msgspec.structs.replace(manifest, graphs=graphs, files=file_records(folder))
            write_manifest(folder, manifest)
            opened = open_bundle(folder, verified=None)
            say(f"comparing {precision} with PyTorch in float32 and in {precision}")
            checked = validate_half(
                model.recipe, opened, precision, islands=islands, images=images, least_psnr=half.least_psnr
            )
            say(checked.report.table())
            _require(checked.report, target)
            parity += checked.report.records()
            _note(graphs, precision, checked)
            for remark in _remarks(graphs, precision):
                say(remark)
        write_manifest(folder, msgspec.structs.replace(manifest, graphs=graphs, parity=tuple(parity)))
    say(f"wrote {target}")
    return target, report


def _planned(
    recipe: Recipe,
    bundle: Bundle,
    precision: Precision,
    half: HalfSettings,
    images: JudgedImages,
    say: Callable[[str], None],
) -> Mapping[Role, Collection[str]]:
    """The islands of a given plan, or those declared and what else is needed."""
    plan = half.plans.get(precision)
    if plan is None:
        declared = {graph.role: declared_islands(graph.half_form(), graph.islands) for graph in recipe.graphs}
        plan = bisect_precision(
            recipe, bundle, precision, images=images, least_psnr=half.least_psnr, given=declared, say=say
        )
    return plan.islands


def _require(report: Report, target: Path) -> None:
    if report.passed:
        return
    raise ParityError(
        str(target),
        found=f"{report.precision} graphs that differ from the PyTorch network (see the table)",
        expected="parity within the stated bounds",
        mend=f"No bundle was written. {AGAIN if report.precision == 'fp32' else AGAIN_HALF}",
    )


def _remarks(graphs: dict[Role, dict[Precision, m.Graph]], precision: Precision) -> Iterator[str]:
    """What nobody should have to find out: a half-precision graph that is none."""
    for role, variants in graphs.items():
        plan = variants[precision].plan
        if plan is not None and takes_image(variants[precision].inputs) and plan.weights.get(FLOATS[precision], 0) == 0:
            yield f"{precision} of {role} IS FLOAT32: nothing less came to the bound, so it gains nothing over fp32"


def _note(graphs: dict[Role, dict[Precision, m.Graph]], precision: Precision, found: HalfReport) -> None:
    """Write what was measured into the plans of that precision."""
    for role, variants in graphs.items():
        graph = variants[precision]
        assert graph.plan is not None  # `_traced` wrote it
        plan = msgspec.structs.replace(
            graph.plan, psnr=round(found.psnr[role], 1), largest=float(f"{found.largest[role]:.3g}")
        )
        variants[precision] = msgspec.structs.replace(graph, plan=plan)


@contextmanager
def _told(target: Path) -> Iterator[None]:
    """A full disk, or one that stops to be writable, is an expected failure wherever it shows."""
    try:
        yield
    except BrokenPipeError:  # of `say`: nobody reads the output any more
        raise
    except OSError as error:
        raise BundleError(
            str(target),
            found=error.strerror or printable(str(error)),
            expected="to write the bundle beside its place",
            mend="Free some space, or choose another place with -o; nothing was left behind.",
        ) from error


def _count(model: Model) -> int:
    return sum(tensor.numel() for tensor in model.network.module.parameters())


def _traced(
    graph: RoleGraph,
    precision: Precision,
    *,
    folder: Path,
    external_above: int,
    say: Callable[[str], None],
    exact: m.Graph | None = None,
) -> m.Graph:
    """Write one graph below `folder` and measure it; `exact` is the role's float32 graph, for half precisions."""
    file = folder / f"graphs/{graph.role}.{precision}.onnx"
    file.parent.mkdir(exist_ok=True)
    say(
        f"tracing {graph.role} in {precision} for any N"
        + (f", and H, W at multiples of {graph.multiple}" if graph.takes_image else "")
    )
    external, plan = trace(graph, file, precision=precision, external_above=external_above, last=True)
    give_back()
    if precision == "bf16":  # no CPU engine of this release runs it
        assert exact is not None
        memory = exact.memory
    else:
        say(f"measuring the memory of {graph.role} in {precision}")
        memory = measure_memory(file, graph)
    return m.Graph(
        file=file.relative_to(folder).as_posix(),
        external_data=tuple(f"graphs/{name}" for name in external),
        inputs=dict(graph.inputs),
        outputs=dict(graph.outputs),
        pred=graph.pred,
        memory=memory,
        plan=plan,
    )


def _manifest(
    model: Model, graphs: dict[Role, dict[Precision, m.Graph]], written: Written, target: Path, folder: Path
) -> m.Manifest:
    recipe, settings = model.recipe, model.settings
    return m.Manifest(
        name=settings.name or _name(model, target),
        family=model.family.name,
        task=recipe.task,
        scale=recipe.scale,
        pixels=recipe.pixels,
        graphs=graphs,
        schedules=dict(recipe.schedules),
        default_schedule=recipe.default_schedule,
        prepare=recipe.prepare,
        finish=recipe.finish,
        tiles=recipe.tiles,
        reduction=recipe.reduction,
        original=recipe.original,
        synthesis=recipe.synthesis,
        latent=recipe.latent,
        segments=dict(written.segments),
        prompt=written.prompt,
        baked_prompt=recipe.baked_prompt,
        tagger=written.tagger,
        licences=settings.licences or recipe.licences,
        provenance=m.Provenance(
            sources=model.sources,
            format=model.format,
            versions={name: metadata.version(name) for name in VERSIONS},
            config=dict(model.config),
        ),
        parity=(),
        files=file_records(folder),
    )


def _name(model: Model, target: Path) -> str:
    """The target folder's name, in the letters that names may have."""
    return re.sub(r"[^a-z0-9_.-]+", "-", target.name.lower()).strip("-._")[:64] or model.family.name
