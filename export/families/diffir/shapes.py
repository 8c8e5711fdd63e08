"""What a stage-2 DiffIR is, read from the names and shapes of its tensors alone, and from its schedule buffers.

Every part is measured where it is stored and compared with its siblings; nothing is allocated. Layout of the official
checkpoints: Xia et al., arXiv 2303.09472, stage 2 (`G`, `condition`, `denoise`, `diffusion`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from lqhq.export.families.diffir.cpen import INNER, WIDTH
from lqhq.export.families.diffir.dirformer import Shape
from lqhq.export.families.diffir.network import DiffIR
from lqhq.export.families.diffir.prior import PriorSchedule
from lqhq.export.families.diffir.stored_schedule import stored_schedule
from lqhq.export.foreign_text import printable
from lqhq.export.state_dict import rows
from lqhq.runtime.errors import CheckpointError

__all__ = ["Described", "describe"]

# Sixteen times the widest and ten times the deepest released network: what a file may claim before its sizes are known.
MAX_DIM = 1 << 10
MAX_BLOCKS = 1 << 8
MAX_HIDDEN = 1 << 16
ENCODER = ("encoder_level1", "encoder_level2", "encoder_level3", "latent")
DECODER = ("decoder_level1", "decoder_level2", "decoder_level3")
STAGES = (*ENCODER, *DECODER, "refinement")
LEVEL_OF_HEADS = {stage: STAGES.index(stage) % 4 for stage in STAGES[:7]} | {"refinement": 0}
# Decoder level 1 is as wide as level 2, and refinement after it.
LEVEL_OF_WIDTH = LEVEL_OF_HEADS | {"decoder_level1": 1, "refinement": 1}
BIASED = ("attn.qkv", "attn.qkv_dwconv", "attn.project_out", "ffn.project_in", "ffn.dwconv", "ffn.project_out")
NORMS = ("norm1.body", "norm2.body")
SCALES = {3: 4, 12: 2, 48: 1}  # of super-resolution, by the channels of the folded input
CPEN_FOLD = 4  # of deblurring and inpainting; super-resolution folds as its DIRformer does


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """All that `DiffIR` is built from; `fold` is the pixel-unshuffle before CPEN."""

    shape: Shape
    fold: int
    encoder_blocks: int
    denoiser_blocks: int
    schedule: PriorSchedule

    def build(self) -> DiffIR:
        return DiffIR(
            self.shape,
            fold=self.fold,
            encoder_blocks=self.encoder_blocks,
            denoiser_blocks=self.denoiser_blocks,
            schedule=self.schedule,
        )


def describe(where: str, tensors: Mapping[str, Tensor]) -> Described:
    """Read the structure from `G.*`, `condition.*`, `denoise.*` and the buffers `diffusion.*`.

    Raises `CheckpointError`, which names the tensor, for parts that are missing, contradict each other, or are larger
    than any DiffIR. Whether all tensors are there in the sizes that follow is for the strict filling to say.
    """
    names = _Names(where, tensors)
    shape = _shape(names)
    return Described(
        shape=shape,
        fold=_cpen_fold(names, shape),
        encoder_blocks=_cpen_blocks(names),
        denoiser_blocks=_denoiser_blocks(names),
        schedule=stored_schedule(where, tensors),
    )


@dataclass(frozen=True, slots=True)
class _Names:
    """The tensors with the two questions that everything here asks of them."""

    where: str
    tensors: Mapping[str, Tensor]

    def has(self, name: str) -> bool:
        return name in self.tensors

    def size(self, name: str, dim: int = 0) -> int:
        return rows(self.where, self.tensors, name, dim)

    def count(self, prefix: str, suffix: str, first: int = 0) -> int:
        """How many `prefix.K.suffix` there are for K = first, first + 1, ...; a gap or too many is an error."""
        numbers = set()
        for name in self.tensors:
            if name.startswith(f"{prefix}.") and name.endswith(f".{suffix}"):
                middle = name[len(prefix) + 1 : -len(suffix) - 1]
                if middle.isdecimal() and middle.isascii() and len(middle) < 6:
                    numbers.add(int(middle) - first)
        if numbers and (max(numbers) >= MAX_BLOCKS or min(numbers) < 0):
            raise self.fault(f"{prefix}.*.{suffix}", f"block {max(numbers) + first}", f"at most {MAX_BLOCKS} blocks")
        for number in range(max(numbers, default=-1)):
            if number not in numbers:
                raise self.fault(f"{prefix}.{number + first}.{suffix}", "no such tensor", "blocks without a gap")
        return len(numbers)

    def fault(self, name: str, found: str, expected: str) -> CheckpointError:
        return CheckpointError(
            f"{self.where}: {printable(name)}",
            found=found,
            expected=expected,
            mend="The checkpoint is incomplete, or of a network that DiffIR's stage 2 is not.",
        )

    def agreed(self, values: Sequence[tuple[str, int]], default: int) -> int:
        """The one value of all the named; `default` where there is none."""
        for name, value in values:
            if value != values[0][1]:
                raise self.fault(name, str(value), f"{values[0][1]}, as in {values[0][0]}")
        return values[0][1] if values else default

    def present(self, modules: Sequence[str]) -> bool:
        """Whether the modules have a bias: all or none."""
        biased = [self.has(f"{module}.bias") for module in modules]
        if len(set(biased)) > 1:
            odd = modules[biased.index(not biased[0])]
            first = "a bias" if biased[0] else "no bias"
            raise self.fault(
                f"{odd}.bias", "no bias" if biased[0] else "a bias", f"{first} throughout, as in {modules[0]}"
            )
        return bool(biased) and biased[0]


def _shape(names: _Names) -> Shape:
    dim = names.size("G.patch_embed.proj.weight")
    if dim % 2 or not 2 <= dim <= MAX_DIM:
        raise names.fault("G.patch_embed.proj.weight", f"{dim} channels", f"an even number from 2 to {MAX_DIM}")
    if names.has("G.skip_conv.weight"):
        raise names.fault("G.skip_conv.weight", "a network with dual_pixel_task", "one without, as all released ones")
    channels, scale, tail = _variant(names)
    counts = {stage: names.count(f"G.{stage}", "attn.temperature") for stage in STAGES}
    blocks = [f"G.{stage}.{k}" for stage in STAGES for k in range(counts[stage])]
    convolutions = [f"{block}.{part}" for block in blocks for part in BIASED]
    convolutions += ["G.reduce_chan_level3", "G.reduce_chan_level2", *([] if tail else ["G.output"])]
    for level, stage in enumerate(DECODER):
        names.agreed([(f"G.{stage}", counts[stage]), (f"G.{ENCODER[level]}", counts[ENCODER[level]])], 0)
    one, two, three, four = (counts[stage] for stage in ENCODER)
    return Shape(
        channels=channels,
        dim=dim,
        blocks=(one, two, three, four),
        refinement=counts["refinement"],
        heads=_heads(names, counts, dim),
        hidden=_hidden(names, counts),
        bias=names.present(convolutions),
        norm_bias=names.present([f"{block}.{part}" for block in blocks for part in NORMS]),
        tail=tail,
        scale=scale,
        residual=not tail and channels == 3,
    )


def _variant(names: _Names) -> tuple[int, int, bool]:
    """Channels of the image, scale, and whether there is super-resolution's tail."""
    tail, output = names.has("G.tail.0.0.weight"), names.has("G.output.weight")
    if tail == output:
        found = "both" if tail else "neither"
        raise names.fault("G.tail.0.0.weight and G.output.weight", found, "one: super-resolution has the first")
    inputs = names.size("G.patch_embed.proj.weight", 1)
    if tail and inputs not in SCALES:
        raise names.fault(
            "G.patch_embed.proj.weight", f"{inputs} input channels", "3, 12 or 48: super-resolution by 4, 2 or 1"
        )
    if output and inputs not in (3, 4):
        raise names.fault(
            "G.patch_embed.proj.weight", f"{inputs} input channels", "3 (deblurring) or 4 (inpainting, with the mask)"
        )
    return (3, SCALES[inputs], True) if tail else (inputs, 1, False)


def _of_level(counts: Mapping[str, int], levels: Mapping[str, int], level: int, part: str) -> Iterator[str]:
    for stage in STAGES:
        if levels[stage] == level:
            yield from (f"G.{stage}.{k}.{part}" for k in range(counts[stage]))


def _heads(names: _Names, counts: Mapping[str, int], dim: int) -> tuple[int, int, int, int]:
    """Heads by level; they must divide the width. A level without blocks counts as one head."""
    heads = []
    for level in range(4):
        temperatures = list(_of_level(counts, LEVEL_OF_HEADS, level, "attn.temperature"))
        count = names.agreed([(name, names.size(name)) for name in temperatures], 1)
        if count < 1 or (dim << level) % count:
            raise names.fault(temperatures[0], f"{count} heads", f"a number that divides {dim << level} channels")
        heads.append(count)
    return heads[0], heads[1], heads[2], heads[3]


def _hidden(names: _Names, counts: Mapping[str, int]) -> tuple[int, int, int, int]:
    """Width inside the feed-forward by level; stored as such, since the factor that it came from is not unique."""
    widths = []
    for level in range(4):
        parts = list(_of_level(counts, LEVEL_OF_WIDTH, level, "ffn.project_out.weight"))
        width = names.agreed([(name, names.size(name, 1)) for name in parts], 1)
        if not 1 <= width <= MAX_HIDDEN:
            raise names.fault(parts[0], f"{width} channels", f"1 to {MAX_HIDDEN}")
        widths.append(width)
    return widths[0], widths[1], widths[2], widths[3]


def _cpen_fold(names: _Names, shape: Shape) -> int:
    fold = shape.fold if shape.tail else CPEN_FOLD
    expected = shape.channels * fold * fold
    if (inputs := names.size("condition.E.0.weight", 1)) != expected:
        raise names.fault("condition.E.0.weight", f"{inputs} input channels", f"{expected}, as G says")
    return fold


def _cpen_blocks(names: _Names) -> int:
    """Residual blocks at `condition.E.2`, 3, ...; then three convolutions, an activation after each."""
    blocks = names.count("condition.E", "body.0.weight", first=2)
    widths = {"condition.E.0.weight": INNER, f"condition.E.{blocks + 6}.weight": WIDTH, "condition.mlp.0.weight": WIDTH}
    for name, width in widths.items():
        if (found := names.size(name)) != width:
            raise names.fault(name, f"{found} channels", f"{width}, a constant of DiffIR")
    return blocks


def _denoiser_blocks(names: _Names) -> int:
    if (inputs := names.size("denoise.resmlp.0.weight", 1)) != 2 * WIDTH + 1:
        raise names.fault("denoise.resmlp.0.weight", f"{inputs} inputs", f"{2 * WIDTH + 1}: condition, time and prior")
    return names.count("denoise.resmlp", "resmlp.0.weight", first=2)
