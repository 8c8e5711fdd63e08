"""The export chain: checkpoint -> network -> graph -> goldens -> manifest -> parity -> bundle."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from lqhq.export.assets import copy_papers
from lqhq.export.family import Family
from lqhq.export.foreign_text import printable
from lqhq.export.goldens import write_goldens
from lqhq.export.load import Model, load_model
from lqhq.export.memory import measure_memory
from lqhq.export.reference import PIXELS
from lqhq.export.settings import Settings, TileSettings
from lqhq.export.trace import EXTERNAL_ABOVE, trace
from lqhq.export.validate import validate
from lqhq.runtime import manifest as m
from lqhq.runtime.bundle import file_records, open_bundle, staging, write_manifest
from lqhq.runtime.errors import BundleError, CheckpointError, OptionError
from lqhq.runtime.parity import Report

__all__ = ["ParityError", "export_bundle"]

GRAPH = "graphs/denoise.fp32.onnx"
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
    `OptionError`, `EngineError`,
    `BundleError`.
    """
    model = load_model(family, checkpoint, form=form, config=config, flags=flags)
    say(f"{checkpoint}: format {model.format}, {_count(model) / 1e6:.2f} M parameters")
    for note in model.notes:
        say(f"  {note}")
    tiles = _tiles(model)
    with staging(target, overwrite=overwrite) as folder, _told(target):
        (folder / GRAPH).parent.mkdir()
        say(f"tracing for any N, and H, W at multiples of {model.network.multiple}")
        external = trace(model.network, model.time_scale, folder / GRAPH, external_above=external_above)
        if papers := copy_papers(checkpoint, folder):
            say(f"taking along {', '.join(papers)}")
        say("writing goldens")
        write_goldens(model, folder)
        say("measuring memory")
        memory = measure_memory(folder / GRAPH, model.network)
        manifest = _manifest(model, external, memory, tiles, target, folder)
        write_manifest(folder, manifest)
        say("comparing with PyTorch")
        report = validate(model, open_bundle(folder, verified=None))
        say(report.table())
        if not report.passed:
            raise ParityError(
                str(target),
                found="a graph that differs from the PyTorch network (see the table)",
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


def _manifest(
    model: Model, external: tuple[str, ...], memory: m.Memory, tiles: m.TileHints, target: Path, folder: Path
) -> m.Manifest:
    settings, network = model.settings, model.network
    resize = (m.Resize(filter=settings.resize, factor=model.scale),) if settings.resize else ()
    pad = m.Pad(mode="reflect", multiple=network.multiple, smallest=network.smallest)
    return m.Manifest(
        name=settings.name or _name(model, target),
        family=model.family.name,
        task=settings.task or ("super-resolution" if model.scale > 1 else "restoration"),
        scale=model.scale,
        pixels=settings.pixels or PIXELS,
        graphs={"denoise": {"fp32": _graph(model, external)}},
        schedules={name: model.family.schedule(item) for name, item in model.samplings.items()},
        default_schedule=model.default_schedule,
        prepare=(*resize, pad),
        finish=(m.Crop(), m.Quantize(mode=settings.quantize or "round")),
        tiles=tiles,
        memory=memory,
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


def _graph(model: Model, external: tuple[str, ...]) -> m.Graph:
    image = m.Tensor(dtype="float32", shape=("N", model.network.channels, "H", "W"))
    return m.Graph(
        file=GRAPH,
        external_data=tuple(f"graphs/{name}" for name in external),
        inputs={"state": image, "t": m.Tensor(dtype="float32", shape=("N",), per="sample")},
        outputs={"pred": image},
        pred=model.family.pred,
    )


def _tiles(model: Model) -> m.TileHints:
    """The network's hints, with the settings' own on top. Raises `OptionError` when those do not fit."""
    network, own = model.network, model.settings.tiles or TileSettings()
    overlap = network.overlap if own.overlap is None else own.overlap
    try:
        return m.TileHints(
            multiple=network.multiple,
            smallest=network.smallest,
            preferred=own.preferred or network.preferred,
            overlap=overlap,
            blend=own.blend or "final",
            trained=own.trained,
            reach=network.reach,
            deviations=network.deviations or _short_overlap(network.reach, overlap),
        )
    except ValueError as error:
        raise OptionError(
            "tiles",
            found=str(error),
            expected=f"sides of {network.multiple} pixels' multiples, overlap at most half of preferred",
            mend='Correct "tiles" in --config.',
        ) from error


def _short_overlap(reach: int | None, overlap: int) -> tuple[str, ...]:
    """What to say of an overlap whose quarter (the guard of `runtime/window.py`) is less than the reach."""
    if reach is None or overlap // 4 >= reach:
        return ()
    return (
        f"overlap: where tiles meet, a pixel may see only {overlap // 4} of the {reach} px around it that one call "
        "looks at; docs/guide/tiling.md says how to measure what this changes",
    )


def _name(model: Model, target: Path) -> str:
    """The target folder's name, in the letters that names may have."""
    return re.sub(r"[^a-z0-9_.-]+", "-", target.name.lower()).strip("-._")[:64] or model.family.name
