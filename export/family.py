"""What a family declares: its formats, and the recipe by which a loaded network becomes a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from lqhq.export.settings import Settings, Task
from lqhq.runtime import manifest as m
from lqhq.runtime.geometry import Size
from lqhq.runtime.profiles import takes_image
from lqhq.runtime.schedule import Schedule
from lqhq.runtime.synthesis_spec import Synthesis

__all__ = [
    "Arrays",
    "Family",
    "Format",
    "Joined",
    "Located",
    "Network",
    "Perturb",
    "Recipe",
    "RoleGraph",
    "Weights",
    "Written",
]

Arrays = Mapping[str, NDArray[np.float32]]
Perturb = Callable[[Tensor], Tensor]  # moves what a network gives by about what engines differ by


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Clean names to tensors, and where they came from (for messages)."""

    where: str
    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any]  # the folder's config.json, for formats that carry one


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A loaded network, fp32, in eval mode; what `module` takes and gives is between a format and its family.

    `multiple` and `smallest` are what H and W must respect. `reach` is how far one call looks around a pixel
    (None: over its tile). `deviations` says in words why a tile does not see what the image sees.
    `per_pair` is what attention takes: bytes times the square of the tile's pixels.
    """

    module: nn.Module
    channels: int
    multiple: int
    smallest: int
    preferred: int
    overlap: int
    reach: int | None = None
    deviations: tuple[str, ...] = ()
    per_pair: float = 0.0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One way in which a family's weights are stored.

    `claims` looks at names and config only. `load` gets the network part of the config (every key must be known)
    and raises `CheckpointError` for half matches and for what only the config can tell.
    """

    name: str
    about: str
    claims: Callable[[Weights], bool]
    load: Callable[[Weights, Mapping[str, Any]], Network]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleGraph:
    """One graph of a bundle: what is traced, and what the result is compared with.

    `module` takes the inputs in their order, and gives the outputs in theirs (a tensor, or a tuple of several);
    `plain` does the same as the formula says it, and is the same object where nothing was rewritten.
    `examples(draw, n, height, width)` are valid inputs. H and W of images are multiples of `multiple`; they are
    compared from `smallest` on. `traced` are those of the trace, in multiples; `probed` the two sides that memory is
    measured at, where the usual ones are too large. Half-precision graphs are made of `half()`, which gives one module
    however often it is asked, or of `module` where that is None, with every submodule that is one of `islands` in
    float32.
    """

    role: m.Role
    module: nn.Module
    plain: nn.Module
    inputs: Mapping[str, m.Tensor]
    outputs: Mapping[str, m.Tensor]
    examples: Callable[[np.random.Generator, int, int, int], dict[str, NDArray[Any]]]
    multiple: int = 1
    smallest: int = 1
    traced: tuple[int, int] = (4, 6)
    probed: tuple[int, int] | None = None
    half: Callable[[], nn.Module] | None = None
    islands: tuple[type[nn.Module], ...] = ()
    pred: Literal["x0", "eps", "v"] | None = None
    per_pair: float = 0.0

    def half_form(self) -> nn.Module:
        """What half-precision graphs are made of, still in float32."""
        return self.module if self.half is None else self.half()

    @property
    def takes_image(self) -> bool:
        return takes_image(self.inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a recipe put beside its graphs, as the manifest describes it."""

    segments: Mapping[m.Role, tuple[m.Segment, ...]] = field(default_factory=dict)
    prompt: m.Prompt | None = None
    tagger: m.Tagger | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a checkpoint becomes. Everything but `restore`, `streams` and `write` is written into the manifest.

    `restore(prepared, schedule, noise, perturb)` is the oracle, the plain formula: `prepared` `[1, C, H', W']` in the
    network's range and padded, to `[1, 3, growth * H', growth * W']`, not clamped; every output of a network passes
    through `perturb`. `streams(schedule, size)` names the N(0, 1) arrays that it takes as `noise` and their shapes;
    `size` is the prepared image's, without padding. `schedule` is None where there are no schedules. `write(folder)`
    puts files beside the graphs: segments, tokenizer, tags.

    `judged` are the schedules that parity runs; all of them where it is empty.

    The rule for small images and the colour fix are no part of `restore`, nor of what parity compares: both are done
    around the networks, and tested by themselves.
    """

    graphs: tuple[RoleGraph, ...]
    task: Task
    scale: int
    pixels: m.Pixels
    prepare: tuple[m.EnlargeSmall | m.Resize | m.MaskOut | m.Pad, ...]
    finish: tuple[m.Crop | m.Composite | m.ColourStep | m.Quantize, ...]
    tiles: m.TileHints
    restore: Callable[[Tensor, str | None, Arrays, Perturb], Tensor]
    streams: Callable[[str | None, Size], Mapping[str, tuple[int, ...]]]
    reduction: m.Reduction | None = None
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    default_schedule: str | None = None
    judged: tuple[str, ...] = ()
    synthesis: Synthesis | None = None
    licences: tuple[m.Licence, ...] = (m.Licence(part="base", licence="unknown"),)
    latent: m.Latent | None = None
    original: m.OriginalRules | None = None
    baked_prompt: str | None = None
    write: Callable[[Path], Written] | None = None

    @property
    def factor(self) -> int:
        """How much larger the prepared image is than the given one."""
        return next((step.factor for step in self.prepare if isinstance(step, m.Resize)), 1)

    @property
    def masked(self) -> bool:
        """Whether an image comes with a mask."""
        return any(isinstance(step, m.MaskOut) for step in self.prepare)

    @property
    def channels(self) -> int:
        """Of the prepared image."""
        return 4 if self.masked else 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """A network of several checkpoints, the name of their format, and every file that was read."""

    network: Network
    format: str
    sources: tuple[m.SourceFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Which file or folder of a training's is the network; what is told about it, what else was read, what was chosen.

    `nested_keys` are those of `Family`, for this choice; `state_key` is the only entry of the file that will do.
    """

    path: Path
    config: Mapping[str, Any]
    sources: tuple[m.SourceFile, ...] = ()
    notes: tuple[str, ...] = ()
    nested_keys: tuple[str, ...] = ()
    state_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A family of models.

    `recipe` raises `CheckpointError` for a setting that it needs and nobody gave, `OptionError` for one that does not
    fit. `joined(path, settings)` loads a model of several checkpoints, where one file is not all of it; such a family
    has no `formats`. `nested_keys` are where its training code keeps the state dict inside a file, the best first.
    `config_json` says whether a config.json beside the weights is part of the model. `locate(path, config, settings)`
    chooses among several networks of one folder; without it the checkpoint is what was given.
    """

    name: str
    about: str
    formats: tuple[Format, ...]
    recipe: Callable[[Network, Settings], Recipe]
    joined: Callable[[Path, Settings], Joined] | None = None
    nested_keys: tuple[str, ...] = ()
    config_json: bool = True
    locate: Callable[[Path, Mapping[str, Any], Settings], Located] | None = None
