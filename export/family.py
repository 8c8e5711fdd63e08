"""What a family declares: its formats, how a schedule becomes rows, and its plain reference sampler."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from lqhq.export.settings import Sampling
from lqhq.runtime.schedule import Schedule

__all__ = ["Family", "Format", "Network", "Noise", "Weights"]

Noise = Mapping[str, NDArray[np.float32]]  # "start" [C, H, W] and "step" [K, C, H, W]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Clean names to tensors, and where they came from (for messages)."""

    where: str
    tensors: Mapping[str, Tensor]
    config: Mapping[str, Any]  # the folder's config.json, for formats that carry one


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A loaded network: `module(state [N, C, H, W], t [N]) -> pred`, fp32, in eval mode.

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
class Family:
    """A family of models. `sample(module, y, sampling, noise)` is the oracle: the plain formula."""

    name: str
    about: str
    pred: Literal["x0", "eps", "v"]
    formats: tuple[Format, ...]
    schedule: Callable[[Sampling], Schedule]
    sample: Callable[[Callable[[Tensor, Tensor], Tensor], Tensor, Sampling, Noise], Tensor]
