"""What a caller asks for, what it hears on the way, and what it gets: the seam between protocols and restoration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from lqhq.runtime.geometry import Box
from lqhq.server.v2.options import Delivery, Format, Options, Urgency

__all__ = ["Accepted", "Ask", "Follower", "Form", "Outcome", "Picture", "Restored", "Times"]

Picture = NDArray[Any] | bytes  # pixels `[H, W, C]`, or a file


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One restoration. `id` is never empty; `model` may be, where one model is served; `version` 0 is the newest.

    `deadline_s` are the seconds until the caller gives up, None for never. `progress` and `tiles` say what the
    follower is to hear beside `accepted`.
    """

    id: str
    model: str
    version: int
    image: Picture
    mask: Picture | None
    options: Options
    delivery: Delivery
    urgency: Urgency
    deadline_s: float | None = None
    progress: bool = False
    tiles: bool = False


class Form(NamedTuple):
    """What an image in memory is; `bit_depth` is 8, 16, or 32 for float32."""

    height: int
    width: int
    channels: int
    bit_depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The request is let in. Seconds are predictions from what was measured, 0 where nothing was."""

    id: str
    image: Form
    result: Form
    works: int
    queue_s: float
    run_s: float


class Follower(Protocol):
    """Hears of one request, on the event loop, in this order: `accepted` once, the others as they come.

    A follower that waits holds up its own request's answer alone; progress that it has no time for is left out.
    """

    async def accepted(self, accepted: Accepted) -> None: ...

    async def progress(self, done: int, total: int, left_s: float) -> None:
        """Network calls over tiles; `left_s` is 0 where it is not known."""
        ...

    async def tile(self, box: Box, pixels: NDArray[Any]) -> None:
        """A box of the result whose values are final."""
        ...


class Times(NamedTuple):
    """Seconds: the file into pixels, waiting for the first call, from it to the pixels, the pixels into a file."""

    decode_s: float = 0.0
    queue_s: float = 0.0
    run_s: float = 0.0
    encode_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was done, after all defaults. `tile` is (height, width) in pixels of the image that the network sees."""

    id: str
    model: str
    version: int
    bundle_sha256: str
    result: Form
    format: Format
    schedule: str
    seed: int
    tile: tuple[int, int]
    overlap: int
    blend: str
    rules: str
    prior: str
    color_fix: str
    precision: str
    engine: str
    device: str
    works: int
    times: Times


class Restored(NamedTuple):
    """The result: pixels where the delivery is "tensor", else a file's bytes."""

    image: Picture
    outcome: Outcome
