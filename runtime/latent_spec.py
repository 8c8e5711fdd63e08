"""The parts of a manifest that say how a latent model is run: its canvas, its segments, its prompt and its tags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from msgspec import Meta

from lqhq.runtime.manifest_types import Name, Positive, RelativePath, Strict

__all__ = ["GroupNorm", "Latent", "Prompt", "Segment", "Tagger", "check_canvases", "segment_files"]

Channels = Annotated[int, Meta(ge=1, le=1 << 14)]
MAX_TOKENS = 1024
MAX_TAGGED = 1024  # side of the image that tags are read off; the usual one is 384


class Latent(Strict, frozen=True, kw_only=True):
    """The canvas between `encode` and `decode`: `channels` values for each `factor` x `factor` network pixels."""

    channels: Channels
    factor: Annotated[int, Meta(ge=2, le=64)]


class GroupNorm(Strict, frozen=True, kw_only=True):
    """Whose statistics a segment takes: of its canvas `x`, over the whole canvas. The weights are in the graph."""

    groups: Positive
    eps: Annotated[float, Meta(gt=0, le=1)]


class Segment(Strict, frozen=True, kw_only=True):
    """One part of a role's graph, between two norms, that runs over strips of full rows of its canvases.

    Canvases are named; `input` is the role's image or state, `noise` the role's noise, `output` its result. Graph
    inputs, float32: `x` `[N, C, H, W]`, `skip` (the same rows of another canvas, at the size of `x`) where it is named,
    and `mean` and `rstd` `[N, C]` of `x`'s channels (each channel that of its group) where there is a `norm`. Output:
    `y` `[N, channels, H * up / down, W * up / down]`. The graph pads with zeros as the network does at its edges; a
    strip is run with `halo` rows of `x` more above and below (fewer at the canvas's edges, where the padding is right),
    whose results are dropped.

    kind "attention" runs over tokens instead, in chunks of any length T: `x` is a canvas of 3C channels, queries, keys
    and values; inputs `q` `[N, C, T]`, `k` and `v` `[N, C, S]` (all S = H * W tokens, row by row) and `skip`
    `[N, C, T]`; output `y` `[N, channels, T]`.
    """

    file: RelativePath
    external_data: tuple[RelativePath, ...] = ()
    kind: Literal["rows", "attention"] = "rows"
    x: Name
    skip: Name | None = None
    y: Name
    channels: Channels
    up: Literal[1, 2] = 1
    down: Literal[1, 2] = 1
    halo: Annotated[int, Meta(ge=0, le=64)] = 0
    norm: GroupNorm | None = None

    def __post_init__(self) -> None:
        if self.up == self.down == 2 or self.halo % self.down:
            raise ValueError(f"up {self.up}, down {self.down}, halo {self.halo}: rows of x and y do not match")
        if self.kind == "attention" and (self.norm or self.halo or self.up != self.down):
            raise ValueError("attention runs over tokens: it has no norm, halo, up or down")


class Prompt(Strict, frozen=True, kw_only=True):
    """How a prompt becomes token ids: the tokenizer's file, how many tokens there are, the ids of no prompt at all.

    `tokenizer` is a file of the library `tokenizers`; it adds the first and last token by itself, and cutting and
    filling up to `length` are set in it. `template` makes the text of tags and words, each as given or empty.
    """

    tokenizer: RelativePath
    length: Annotated[int, Meta(ge=2, le=MAX_TOKENS)]
    template: str
    empty: Annotated[tuple[Annotated[int, Meta(ge=0, le=1 << 31)], ...], Meta(min_length=2, max_length=MAX_TOKENS)]

    def __post_init__(self) -> None:
        if len(self.empty) != self.length:
            raise ValueError(f"empty has {len(self.empty)} ids; expected length, {self.length}")


class Tagger(Strict, frozen=True, kw_only=True):
    """How tags are read off the role `tag`: the image's side, the names and the thresholds, one per line each.

    A tag is on where the sigmoid of its logit is above its threshold.
    """

    side: Annotated[int, Meta(ge=1, le=MAX_TAGGED)]
    names: RelativePath
    thresholds: RelativePath


def segment_files(segments: Sequence[Segment]) -> Iterator[str]:
    """Every file that `segments` need."""
    for segment in segments:
        yield from (segment.file, *segment.external_data)


def check_canvases(role: str, segments: Sequence[Segment]) -> None:
    """Raise `ValueError` where a segment reads what none before it wrote, or the last does not write `output`."""
    known = {"input", "noise"} if role == "encode" else {"input"}
    for index, segment in enumerate(segments):
        read = [segment.x, *([segment.skip] if segment.skip else [])]
        if not set(read) <= known or segment.y in known:
            raise ValueError(f"segments.{role}[{index}] reads {', '.join(read)} and writes {segment.y}: not in order")
        if segment.norm is not None and segment.x in ("input", "noise"):
            raise ValueError(f"segments.{role}[{index}] has a norm of {segment.x}, which nobody measures")
        known.add(segment.y)
    if segments[-1].y != "output":
        raise ValueError(f"segments.{role} end with {segments[-1].y!r}; expected 'output'")
