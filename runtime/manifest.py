"""The bundle manifest: a strict, versioned schema, and nothing about files on disk (that is `bundle.py`).

The JSON form of `Manifest` is a public contract: other programs may run our graphs from it. Field names are the
JSON keys. Unknown fields are errors; so is a newer `version`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from lqhq.runtime.errors import BundleError
from lqhq.runtime.latent_spec import Latent, Prompt, Segment, Tagger, check_canvases, segment_files
from lqhq.runtime.manifest_types import Name, Positive, RelativePath, Side, Strict
from lqhq.runtime.precision import Plan, Precision
from lqhq.runtime.rules_spec import ColourStep, EnlargeSmall, OriginalRules
from lqhq.runtime.schedule import Schedule
from lqhq.runtime.synthesis_spec import Synthesis, check_starts

__all__ = [
    "VERSION",
    "ColourStep",
    "Composite",
    "Crop",
    "EnlargeSmall",
    "FileRecord",
    "Graph",
    "Latent",
    "Licence",
    "Manifest",
    "MaskOut",
    "Memory",
    "OriginalRules",
    "Pad",
    "ParityRecord",
    "Pixels",
    "Prompt",
    "Provenance",
    "Quantize",
    "Reduction",
    "Resize",
    "Role",
    "Segment",
    "SourceFile",
    "Synthesis",
    "Tagger",
    "Tensor",
    "TileHints",
    "Unit",
    "bound_text",
    "manifest_from_json",
    "manifest_to_json",
]

VERSION = 1
READS = (1,)  # the versions this release reads; see docs/guide/bundle.md
MAX_JSON_BYTES = 16 << 20  # 10 000 rows take about 2 MB

MIN_RANGE, MAX_RANGE = 1e-3, 1e6  # of pixel values

Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
Unit = Literal["abs", "dB"]
Role = Literal["reduce", "encode", "denoise", "decode", "text", "tag"]
Axis = Annotated[str, Meta(pattern=r"^(N|([2-9]|1[0-6])?[HW])$")]  # 4H: four times the input's H

Segments = Annotated[tuple[Segment, ...], Meta(min_length=2, max_length=128)]

# What a bundle's graphs may be: a sampler's network, one that restores at once, guided by a vector, or a sampler's
# network on latents, beside which there may be what makes its condition of a prompt, and prompts of images.
PIPELINES: tuple[frozenset[Role], ...] = (
    frozenset({"denoise"}),
    frozenset({"reduce", "encode", "decode"}),
    frozenset({"encode", "denoise", "decode"}),
)
PROMPTED: tuple[frozenset[Role], ...] = (frozenset(), frozenset({"text"}), frozenset({"text", "tag"}))


class Pixels(Strict, frozen=True, kw_only=True):
    """How pixels enter and leave the graphs: value range and channel order."""

    range: tuple[float, float]
    order: Literal["rgb", "bgr"]

    def __post_init__(self) -> None:
        low, high = self.range
        # Pixels are scaled in float32: wider or farther ranges lose levels of 16 bits, narrower ones all meaning.
        if not (low >= -MAX_RANGE and high <= MAX_RANGE and MIN_RANGE <= high - low <= MAX_RANGE):
            raise ValueError(
                f"range {self.range}; expected [low, high] within +-{MAX_RANGE:g}, {MIN_RANGE:g} to {MAX_RANGE:g} wide"
            )


class Tensor(Strict, frozen=True, kw_only=True):
    """A graph input or output. `shape` has numbers, N, H, W, and multiples such as 4H; `per` says who owns a value."""

    dtype: Literal["float32", "float16", "int64"]
    shape: Annotated[tuple[Annotated[int, Meta(ge=1, le=1 << 16)] | Axis, ...], Meta(max_length=6)]
    per: Literal["tile", "image", "sample"] = "tile"


class Memory(Strict, frozen=True, kw_only=True):
    """Measured at export: peak bytes of the engine = `fixed` + (`per_pixel` * P + `per_pair` * P * P) * batch.

    P is the input pixels of a tile, zero for a graph that takes no image; `per_pair` is attention's share. The bounds
    (a petabyte, a gigabyte, a megabyte) are far above any network, and keep the estimate finite for every tile.
    """

    fixed: Annotated[int, Meta(ge=1, le=1 << 50)]
    per_pixel: Annotated[float, Meta(ge=0, le=1e9)]
    per_pair: Annotated[float, Meta(ge=0, le=1e6)] = 0.0

    def peak(self, pixels: int) -> float:
        """Bytes that the engine takes for one tile of `pixels`."""
        return self.fixed + self.per_pixel * pixels + self.per_pair * pixels**2


class Graph(Strict, frozen=True, kw_only=True):
    """One ONNX file, its external data if any, what goes in and out, the memory that it takes, what it is made of.

    Inputs and outputs have the same types in every precision: half precision begins and ends inside the graph.
    """

    file: RelativePath
    external_data: tuple[RelativePath, ...] = ()
    inputs: Annotated[dict[Name, Tensor], Meta(min_length=1, max_length=16)]
    outputs: Annotated[dict[Name, Tensor], Meta(min_length=1, max_length=16)]
    pred: Literal["x0", "eps", "v"] | None = None
    memory: Memory
    plan: Plan | None = None  # None in bundles of a release without engines: what is built of them stays unverified


class Resize(Strict, frozen=True, kw_only=True, tag="resize", tag_field="op"):
    """Enlarge the image before the network. `filter` names the kernel; all sample at pixel centres.

    bicubic: a = -0.5, as Pillow and torch with antialias; bicubic_075: a = -0.75, as torch without and OpenCV.
    """

    filter: Literal["bicubic", "bicubic_075"]
    factor: Annotated[int, Meta(ge=1, le=16)]


class MaskOut(Strict, frozen=True, kw_only=True, tag="mask_out", tag_field="op"):
    """Set the pixels inside the hole to zero, and append the hole as a channel: 1 inside, 0 outside."""


class Pad(Strict, frozen=True, kw_only=True, tag="pad", tag_field="op"):
    """Extend the canvas to the right and bottom, to multiples of `multiple` and at least `smallest` pixels.

    `reflect` mirrors without repeating the edge pixel, `symmetric` with it, `edge` repeats the edge pixel alone.
    """

    mode: Literal["reflect", "symmetric", "edge"]
    multiple: Side
    smallest: Side


class Crop(Strict, frozen=True, kw_only=True, tag="crop", tag_field="op"):
    """Cut the padding away again."""


class Composite(Strict, frozen=True, kw_only=True, tag="composite", tag_field="op"):
    """Keep the given pixels outside the hole; only the hole is the network's."""


class Quantize(Strict, frozen=True, kw_only=True, tag="quantize", tag_field="op"):
    """How floats become integers, after a clamp to the range: `round` half to even, or `truncate`."""

    mode: Literal["round", "truncate"]


class TileHints(Strict, frozen=True, kw_only=True):
    """What a tile plan must and should respect, in pixels of the prepared image (what the network sees).

    `overlap` is what neighbours share; `trained` the training crop where known; `reach` how far one network call
    looks around a pixel, None where a pixel depends on all of its tile; `deviations` says in words why a tiled result
    is not the untiled one.
    """

    multiple: Side
    smallest: Side
    preferred: Side
    overlap: Annotated[int, Meta(ge=0, le=1 << 16)]
    blend: Literal["each", "final"]
    trained: Side | None = None
    reach: Side | None = None
    deviations: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("smallest", "preferred", "overlap"):
            if getattr(self, name) % self.multiple:
                raise ValueError(f"{name} {getattr(self, name)} is not a multiple of {self.multiple}")
        if self.overlap * 2 > self.preferred:
            raise ValueError(f"overlap {self.overlap} is more than half of preferred {self.preferred}")


class Reduction(Strict, frozen=True, kw_only=True):
    """How the role `reduce` is tiled: `reach` is how far its sums look around a pixel, `preferred` the tile's side.

    A tile is run with `reach` pixels around its core, and its mask lets the core alone count: sums of cores are exact.
    """

    reach: Side
    preferred: Side


class Licence(Strict, frozen=True, kw_only=True):
    """Licence of one part (`base`, `adapter`, ...). `unknown` is allowed, and shown."""

    part: str
    licence: str
    attribution: str = ""


class SourceFile(Strict, frozen=True, kw_only=True):
    """A file that the bundle was made from."""

    name: str
    sha256: Digest
    bytes: Annotated[int, Meta(ge=0)]


class Provenance(Strict, frozen=True, kw_only=True):
    """Where the bundle came from: source files with digests, format, and the versions of what made it."""

    sources: tuple[SourceFile, ...]
    format: str
    versions: dict[str, str]
    config: dict[str, Any] = msgspec.field(default_factory=dict)


def bound_text(tolerance: float, unit: Unit) -> str:
    """A tolerance for people: the largest difference, or the least PSNR."""
    return f"{tolerance:.1e}" if unit == "abs" else f">= {tolerance:.1f} dB"


class ParityRecord(Strict, frozen=True, kw_only=True):
    """One comparison with the PyTorch reference at export: worst case over `cases`; `tolerance` is a `Case`'s."""

    what: str
    precision: Precision
    cases: Positive
    max_abs: float
    p99_9: float
    psnr: float | None
    ssim: float | None
    nan_count: Annotated[int, Meta(ge=0)]
    tolerance: float
    unit: Unit = "abs"
    passed: bool

    @property
    def bound(self) -> str:
        """The tolerance as text."""
        return bound_text(self.tolerance, self.unit)


class FileRecord(Strict, frozen=True, kw_only=True):
    """Digest and size of one file in the bundle."""

    sha256: Digest
    bytes: Annotated[int, Meta(ge=0)]


class Manifest(Strict, frozen=True, kw_only=True):
    """Everything that a reader of the bundle must know. See `docs/guide/bundle.md` for each field."""

    format: Literal["lqhq-bundle"] = "lqhq-bundle"
    version: int = VERSION
    name: Name
    family: Name
    task: Literal["super-resolution", "restoration", "deblurring", "inpainting", "degradation"]
    scale: Annotated[int, Meta(ge=1, le=16)]
    pixels: Pixels
    graphs: dict[Role, dict[Precision, Graph]]
    schedules: Annotated[dict[Name, Schedule], Meta(max_length=256)] = msgspec.field(default_factory=dict)
    default_schedule: Name | None = None
    prepare: Annotated[tuple[EnlargeSmall | Resize | MaskOut | Pad, ...], Meta(max_length=8)]
    finish: Annotated[tuple[Crop | Composite | ColourStep | Quantize, ...], Meta(max_length=8)]
    original: OriginalRules | None = None  # rules="original" takes these in place of prepare and finish
    tiles: TileHints
    reduction: Reduction | None = None
    synthesis: Synthesis | None = None
    latent: Latent | None = None
    segments: Annotated[dict[Role, Segments], Meta(max_length=2)] = msgspec.field(default_factory=dict)
    prompt: Prompt | None = None
    baked_prompt: Annotated[str, Meta(max_length=4096)] | None = None  # the one prompt that `cond` was folded for
    tagger: Tagger | None = None
    licences: tuple[Licence, ...]
    provenance: Provenance
    parity: tuple[ParityRecord, ...]
    files: Annotated[dict[RelativePath, FileRecord], Meta(min_length=1, max_length=512)]

    def __post_init__(self) -> None:
        self._check_graphs()
        self._check_schedules()
        self._check_steps()
        if self.pad.multiple % self.tiles.multiple or self.pad.smallest < self.tiles.smallest:
            raise ValueError("prepare.pad does not reach the multiple and smallest side that tiles ask for")
        if (self.reduction is None) != ("reduce" not in self.graphs):
            raise ValueError("reduction must be there with a graph for reduce, and only then")
        if self.reduction is not None and self.reduction.preferred <= 2 * self.reduction.reach:
            raise ValueError("reduction.preferred leaves no core between two reaches")

    def _check_graphs(self) -> None:
        prompted: set[Role] = {role for role in self.graphs if role in ("text", "tag")}
        if set(self.graphs) - prompted not in PIPELINES or prompted not in PROMPTED:
            pipelines = " or ".join(", ".join(sorted(roles)) for roles in PIPELINES)
            raise ValueError(
                f"graphs has the roles {sorted(self.graphs)}; expected {pipelines}, and with a latent text, or text "
                "and tag"
            )
        self._check_latent(prompted)
        if "denoise" not in self.graphs and self.tiles.blend == "each":
            raise ValueError("tiles.blend is 'each', but graphs without denoise run once: there is nothing in between")
        for role, variants in self.graphs.items():
            if "fp32" not in variants:
                raise ValueError(f"graphs.{role}.fp32 is missing: parity is judged by it, others stand beside it")
            for precision, graph in variants.items():
                if graph.pred is not None and role != "denoise":
                    raise ValueError(f"graphs.{role}.{precision}.pred is {graph.pred!r}; only denoise predicts")
                for name in (graph.file, *graph.external_data):
                    if name not in self.files:
                        raise ValueError(f"graphs.{role}.{precision} names {name!r}, which is not in files")

    def _check_latent(self, prompted: set[Role]) -> None:
        latent = {"encode", "denoise"} <= set(self.graphs)
        if latent != (self.latent is not None):
            raise ValueError("latent must be there with graphs for encode and denoise, and only then")
        if not latent and (prompted or self.segments or self.original or self.baked_prompt is not None):
            raise ValueError("text, tag, segments, original and baked_prompt belong to models with a latent")
        if self.latent is None:
            return
        if (self.prompt is None) != ("text" not in prompted) or (self.tagger is None) != ("tag" not in prompted):
            raise ValueError("prompt and tagger must be there with graphs for text and tag, and only then")
        if self.prompt is not None and self.baked_prompt is not None:
            raise ValueError("a baked prompt leaves no graph for text to be of use")
        if self.tiles.blend != "each" or self.tiles.multiple != self.latent.factor:
            raise ValueError("tiles of latents are blended at each step, and their multiple is the latent's factor")
        assets = [] if self.prompt is None else [self.prompt.tokenizer]
        assets += [] if self.tagger is None else [self.tagger.names, self.tagger.thresholds]
        for name in (*assets, *(part for one in self.segments.values() for part in segment_files(one))):
            if name not in self.files:
                raise ValueError(f"{name!r} is named, but is not in files")
        if not set(self.segments) <= {"encode", "decode"}:
            raise ValueError(f"segments of {sorted(self.segments)}; expected encode and decode at most")
        for role, segments in self.segments.items():
            check_canvases(role, segments)

    def _check_schedules(self) -> None:
        samples = "denoise" in self.graphs
        if samples != bool(self.schedules):
            raise ValueError("schedules must be there with a graph for denoise, and only then")
        if (self.default_schedule in self.schedules) != samples or (not samples and self.default_schedule is not None):
            raise ValueError(
                f"default_schedule {self.default_schedule!r} is not among the schedules {sorted(self.schedules)}"
            )
        variance = samples and all("var" in graph.outputs for graph in self.graphs["denoise"].values())
        for name, schedule in self.schedules.items():
            if schedule.needs_variance and not variance:
                raise ValueError(f"schedules.{name} uses a learned variance, but denoise has no output var")
        if self.synthesis is not None:
            check_starts(self.synthesis, self.schedules)

    def _check_steps(self) -> None:
        kinds = [type(step) for step in self.prepare if not (self.latent and isinstance(step, EnlargeSmall))]
        if kinds not in ([Pad], [Resize, Pad], [MaskOut, Pad]) or EnlargeSmall in map(type, self.prepare[1:]):
            raise ValueError("prepare must be pad, after one resize or mask_out at most (latent: enlarge_small first)")
        grows = "decode" in self.graphs and self.latent is None
        if self.scale % self.factor or (not grows and self.growth != 1):
            raise ValueError(f"prepare enlarges by {self.factor}, but scale is {self.scale}")
        if self.masked and (self.scale != 1 or "decode" not in self.graphs):
            raise ValueError(f"mask_out needs scale 1 and a graph for decode, not scale {self.scale}")
        finish = [type(step) for step in self.finish]
        colour = [ColourStep] if ColourStep in finish and not self.masked else []
        if finish != [Crop, *([Composite] if self.masked else []), *colour, Quantize]:
            raise ValueError("finish must be crop, composite (after mask_out, and only then), a colour fix, quantize")

    @property
    def pad(self) -> Pad:
        """The one pad step; it is always the last of `prepare`."""
        step = self.prepare[-1]
        assert isinstance(step, Pad)
        return step

    @property
    def resize(self) -> Resize | None:
        """The resize step, or None where the network takes the image as it is."""
        return next((step for step in self.prepare if isinstance(step, Resize)), None)

    @property
    def factor(self) -> int:
        """How much larger the prepared image is than the given one."""
        return self.resize.factor if self.resize else 1

    @property
    def growth(self) -> int:
        """How much larger the result is than the prepared image: what the role `decode` enlarges."""
        return self.scale // self.factor

    @property
    def small(self) -> EnlargeSmall | None:
        """The rule for small images, or None where any size is taken as it is."""
        return next((step for step in self.prepare if isinstance(step, EnlargeSmall)), None)

    @property
    def colour(self) -> ColourStep | None:
        """The colour fix that is part of the model, if any."""
        return next((step for step in self.finish if isinstance(step, ColourStep)), None)

    @property
    def masked(self) -> bool:
        """Whether the bundle needs a mask."""
        return any(isinstance(step, MaskOut) for step in self.prepare)

    @property
    def channels(self) -> int:
        """Channels of the prepared image: RGB, and the hole where there is one."""
        return 4 if self.masked else 3

    @property
    def quantize(self) -> Quantize:
        """The last step of `finish`."""
        step = self.finish[-1]
        assert isinstance(step, Quantize)
        return step


class _Version(msgspec.Struct):
    """Read first, so that a newer manifest is told apart from a broken one."""

    format: str = ""
    version: int = 0


def manifest_from_json(data: bytes) -> Manifest:
    """Decode and check a manifest. Raises `BundleError` whose message names the path of the fault."""
    where = "manifest.json"
    if len(data) > MAX_JSON_BYTES:
        raise BundleError(
            where,
            found=f"{len(data)} bytes",
            expected=f"at most {MAX_JSON_BYTES}",
            mend="This is not a manifest that lqhq wrote; get the bundle again.",
        )
    try:
        head = msgspec.json.decode(data, type=_Version)
        if head.format != "lqhq-bundle":
            raise BundleError(
                where,
                found=f"format {head.format!r}",
                expected="format 'lqhq-bundle'",
                mend="Give the folder that `lqhq export` wrote.",
            )
        if head.version not in READS:
            raise BundleError(
                where,
                found=f"version {head.version}",
                expected=f"version {' or '.join(map(str, READS))}",
                mend="Update lqhq, or export the checkpoint again with this release.",
            )
        return msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(
            where,
            found=str(error),
            expected=f"a manifest of version {VERSION}",
            mend="Export the checkpoint again, or get an undamaged copy of the bundle.",
        ) from error


def manifest_to_json(manifest: Manifest) -> bytes:
    """The manifest as indented UTF-8 JSON; float64 survives the round trip exactly."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
