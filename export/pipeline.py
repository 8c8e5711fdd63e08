"""The export chain: checkpoint -> network -> recipe -> graphs -> goldens -> manifest -> parity -> bundle."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from lqhq.export.assets import copy_papers
from lqhq.export.family import Family, RoleGraph
from lqhq.export.foreign_text import printable
from lqhq.export.goldens import write_goldens
from lqhq.export.load import Model, load_model
from lqhq.export.memory import measure_memory
from lqhq.export.settings import Settings
from lqhq.export.trace import EXTERNAL_ABOVE, trace
from lqhq.export.validate import validate
from lqhq.runtime import manifest as m
from lqhq.runtime.bundle import file_records, open_bundle, staging, write_manifest
from lqhq.runtime.errors import BundleError, CheckpointError
from lqhq.runtime.parity import Report

__all__ = ["ParityError", "export_bundle"]

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
    overwrite: bool = False,
    external_above: int = EXTERNAL_ABOVE,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Path, Report]:
    """Export `checkpoint` into the bundle folder `target`, checked against PyTorch; returns it and the report.

    `config` is the content of `--config`, `flags` what was given besides; `say` hears one line per step.
    Nothing is left at `target` unless all went well. Raises `CheckpointError`, its kind `ParityError`,
    `OptionError`, `EngineError`, `BundleError`.
    """
    model = load_model(family, checkpoint, form=form, config=config, flags=flags)
    say(f"{checkpoint}: format {model.format}, {_count(model) / 1e6:.2f} M parameters")
    for note in model.notes:
        say(f"  {note}")
    with staging(target, overwrite=overwrite) as folder, _told(target):
        graphs = {graph.role: _traced(graph, folder, external_above, say) for graph in model.recipe.graphs}
        if papers := copy_papers(checkpoint, folder):
            say(f"taking along {', '.join(papers)}")
        say("writing goldens")
        write_goldens(model.recipe, folder)
        manifest = _manifest(model, graphs, target, folder)
        write_manifest(folder, manifest)
        say("comparing with PyTorch")
        report = validate(model.recipe, open_bundle(folder, verified=None))
        say(report.table())
        if not report.passed:
            raise ParityError(
                str(target),
                found="graphs that differ from the PyTorch network (see the table)",
                expected="parity within the stated bounds",
                mend="No bundle was written. Report this with the checkpoint's config and `lqhq doctor`.",
            )
        write_manifest(folder, msgspec.structs.replace(manifest, parity=report.records()))
    say(f"wrote {target}")
    return target, report


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


def _traced(graph: RoleGraph, folder: Path, external_above: int, say: Callable[[str], None]) -> m.Graph:
    """Write one role's graph below `folder` and measure it."""
    file = folder / f"graphs/{graph.role}.fp32.onnx"
    file.parent.mkdir(exist_ok=True)
    say(
        f"tracing {graph.role} for any N"
        + (f", and H, W at multiples of {graph.multiple}" if graph.takes_image else "")
    )
    external = trace(graph, file, external_above=external_above)
    say(f"measuring the memory of {graph.role}")
    return m.Graph(
        file=file.relative_to(folder).as_posix(),
        external_data=tuple(f"graphs/{name}" for name in external),
        inputs=dict(graph.inputs),
        outputs=dict(graph.outputs),
        pred=graph.pred,
        memory=measure_memory(file, graph),
    )


def _manifest(model: Model, graphs: Mapping[m.Role, m.Graph], target: Path, folder: Path) -> m.Manifest:
    recipe, settings = model.recipe, model.settings
    return m.Manifest(
        name=settings.name or _name(model, target),
        family=model.family.name,
        task=recipe.task,
        scale=recipe.scale,
        pixels=recipe.pixels,
        graphs={role: {"fp32": graph} for role, graph in graphs.items()},
        schedules=dict(recipe.schedules),
        default_schedule=recipe.default_schedule,
        prepare=recipe.prepare,
        finish=recipe.finish,
        tiles=recipe.tiles,
        reduction=recipe.reduction,
        licences=settings.licences or (m.Licence(part="base", licence="unknown"),),
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
