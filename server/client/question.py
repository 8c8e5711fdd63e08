"""One restoration as lqhq.v1 asks for it: what is checked before anything is sent, and the messages of both ways."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypedDict, Unpack

from lqhq.runtime.errors import OptionError
from lqhq.server.client.pictures import Picture, file_bytes
from lqhq.server.client.words import number_of
from lqhq.server.protos import lqhq_v1_pb2 as pb

__all__ = ["UNARY_BYTES", "Asking", "Question", "question"]

CHUNK_BYTES = 1 << 20
# A file of this size gives a result that fits the messages of any server we know of, at 16 times the pixels; larger
# ones go in chunks, whose overhead is nothing beside their work.
UNARY_BYTES = 64 << 10
SEEDS, SIDE, PRIORITIES, VERSIONS = 2**64 - 1, 2**31 - 1, 2**32 - 1, 2**63 - 1


class Asking(TypedDict, total=False):
    """What `restore` takes beside the image; every key may be left out.

    `mask`: for models that fill holes. `model`, `version`: which model, "" where the server holds one; 0 is the
    newest. `schedule` to `tagger`: as `Restorer.restore`. `output`: "png", "jpeg", "webp" or "tiff". `quality`:
    1 to 100, of JPEG and WebP; None: 95. `bit_depth`: 8 or 16; None: that of the image. `priority`: 1 is the most
    urgent, 0 the server's default. `request_id`: name in logs, "" for one that the server makes.
    """

    mask: Picture | None
    model: str
    version: int
    schedule: str | None
    seed: int
    tile: int | Literal["auto"] | None
    overlap: int | None
    blend: str | None
    prior: str | None
    color_fix: str | None
    rules: str | None
    prompt: str | None
    tagger: bool
    output: str
    quality: int | None
    bit_depth: int | None
    priority: int
    request_id: str


DEFAULTS: Asking = {
    "mask": None,
    "model": "",
    "version": 0,
    "schedule": None,
    "seed": 0,
    "tile": None,
    "overlap": None,
    "blend": None,
    "prior": None,
    "color_fix": None,
    "rules": None,
    "prompt": None,
    "tagger": False,
    "output": "png",
    "quality": None,
    "bit_depth": None,
    "priority": 0,
    "request_id": "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A request that can be sent, and sent again. `mask` is empty where there is none."""

    ask: pb.Ask
    image: bytes
    mask: bytes
    progress: bool
    tiles: bool

    @property
    def small(self) -> bool:
        """Whether one message each way will do, and nobody listens on the way."""
        return not (self.progress or self.tiles) and len(self.image) + len(self.mask) <= UNARY_BYTES

    def request(self) -> pb.RestoreRequest:
        """The one message of `Restore`."""
        return pb.RestoreRequest(ask=self.ask, image=self.image, mask=self.mask)

    def uploads(self) -> Iterator[pb.RestoreUpload]:
        """The messages of `RestoreStream`: header, chunks, end. Chunks are cut when they are asked for."""
        header = pb.UploadHeader(
            ask=self.ask,
            image_bytes=len(self.image),
            mask_bytes=len(self.mask),
            progress=self.progress,
            tiles=self.tiles,
            chunk_bytes=CHUNK_BYTES,
        )
        yield pb.RestoreUpload(header=header)
        digests = []
        for part, data in ((pb.PART_IMAGE, self.image), (pb.PART_MASK, self.mask)):
            digest = hashlib.sha256()
            for start in range(0, len(data), CHUNK_BYTES):
                piece = data[start : start + CHUNK_BYTES]
                digest.update(piece)
                yield pb.RestoreUpload(chunk=pb.Chunk(offset=start, data=piece, part=part))
            digests.append(digest.hexdigest() if data else "")
        yield pb.RestoreUpload(end=pb.UploadEnd(image_sha256=digests[0], mask_sha256=digests[1]))


def question(image: Picture, *, progress: bool, tiles: bool, **asked: Unpack[Asking]) -> Question:
    """Read and check. What the model takes, the server says.

    Raises `OptionError` for what no message can carry, `ImageError` for an image that cannot be read, `TypeError` for
    a name that is none of `Asking`.
    """
    unknown = sorted(asked.keys() - DEFAULTS.keys())
    if unknown:
        raise TypeError(f"restore() has no argument {unknown[0]!r}; there are {', '.join(DEFAULTS)}")
    whole: Asking = {**DEFAULTS, **asked}
    mask = whole["mask"]
    return Question(
        ask=_ask(whole),
        image=file_bytes(image, "image"),
        mask=b"" if mask is None else file_bytes(mask, "mask"),
        progress=progress,
        tiles=tiles,
    )


def _ask(asked: Asking) -> pb.Ask:
    quality, bit_depth = asked["quality"], asked["bit_depth"]
    if bit_depth not in (None, 8, 16):
        raise OptionError("bit_depth", found=str(bit_depth), expected="8 or 16", mend="Leave it out for the image's.")
    return pb.Ask(
        request_id=asked["request_id"],
        model=pb.ModelRef(name=asked["model"], version=_within("version", asked["version"], 0, VERSIONS)),
        options=_options(asked),
        output=pb.Output(
            format=number_of(pb.ImageFormat, "output", asked["output"]),
            quality=0 if quality is None else _within("quality", quality, 1, 100),
            bit_depth=bit_depth or 0,
        ),
        priority=_within("priority", asked["priority"], 0, PRIORITIES),
    )


def _options(asked: Asking) -> pb.Options:
    tile, overlap = asked["tile"], asked["overlap"]
    return pb.Options(
        schedule=asked["schedule"],
        seed=_within("seed", asked["seed"], 0, SEEDS),
        prompt=asked["prompt"],
        tagger=asked["tagger"],
        color_fix=number_of(pb.ColorFix, "color_fix", asked["color_fix"]),
        rules=number_of(pb.Rules, "rules", asked["rules"]),
        prior=number_of(pb.Prior, "prior", asked["prior"]),
        tile=0 if tile in (None, "auto") else _within("tile", tile, 1, SIDE),
        overlap=None if overlap is None else _within("overlap", overlap, 0, SIDE),
        blend=number_of(pb.Blend, "blend", asked["blend"]),
    )


def _within(option: str, value: object, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise OptionError(
            option,
            found=repr(value)[:80],
            expected=f"a whole number from {low} to {high}",
            mend="Leave it out for the default.",
        )
    return value
