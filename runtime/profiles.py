"""Optimisation profiles: which shapes an engine is built for, by default and by command line. Values, no engine.

A profile is written `HEIGHTxWIDTH@BATCH`, where each is a number or a range: `256x256`, `256x512@1-8`,
`64-512x64-512@1-4`. Sides are pixels of the prepared image; for a graph of vectors both are 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from lqhq.runtime.engine_spec import Profile, Range
from lqhq.runtime.errors import OptionError
from lqhq.runtime.geometry import round_up
from lqhq.runtime.manifest import Manifest, Role, Tensor

__all__ = [
    "check_profiles",
    "choose_profile",
    "default_profiles",
    "describe",
    "fits",
    "in_latents",
    "parse_profile",
    "takes_image",
]

MAX_SIDE = 1 << 16  # as the manifest's sides
MAX_BATCH = 1024  # far above what a GPU holds; a mistyped batch must not reach the builder
BATCH = Range(1, 1, 4)  # tiles of one image that share a call; 4 fill a GPU at the sides that bundles prefer
ONE = Range(1, 1, 1)
WRITTEN = re.compile(r"(?P<height>[0-9-]+)x(?P<width>[0-9-]+)(?:@(?P<batch>[0-9-]+))?")
NUMBERS = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")


def takes_image(inputs: Mapping[str, Tensor]) -> bool:
    """Whether any of the inputs has sides."""
    return any(isinstance(axis, str) and axis[-1] in "HW" for tensor in inputs.values() for axis in tensor.shape)


def default_profiles(manifest: Manifest, role: Role, *, batch: Range = BATCH) -> tuple[Profile, ...]:
    """The shapes that the runtime feeds to `role` when nothing else is asked for.

    First the preferred tile alone: engines of fixed sides are the fastest. Then all smaller sides down to the smallest,
    for small images, and for what tiles shrink to where that covers an image. A role of vectors has the batch alone.
    For `reduce` the range goes up to the tiles of the image, which it is run over where each tile has its own prior.
    """
    if not takes_image(manifest.graphs[role]["fp32"].inputs):
        return (Profile(batch=batch, height=ONE, width=ONE),)
    tiles, unit = manifest.tiles, manifest.latent.factor if manifest.latent else 1
    multiple = tiles.multiple // unit
    reduction = manifest.reduction if role == "reduce" else None
    preferred = round_up(reduction.preferred, multiple) if reduction else tiles.preferred // unit
    side, most = _fixed(preferred), max(preferred, tiles.preferred // unit)
    first = Profile(batch=batch, height=side, width=side)
    least = round_up(tiles.smallest // unit, multiple)
    if least >= most:
        return (first,)
    sides = Range(least, preferred, most)
    return (first, Profile(batch=batch, height=sides, width=sides))


def in_latents(profiles: Iterable[Profile], factor: int) -> tuple[Profile, ...]:
    """Profiles whose sides are network pixels, for graphs that count in latents. Raises `OptionError`."""

    def scaled(profile: Profile, sides: Range) -> Range:
        if any(side % factor for side in sides):
            raise _refused(describe(profile), f"sides {sides.least} to {sides.most}", f"multiples of {factor}")
        return Range(*(side // factor for side in sides))

    return tuple(
        Profile(batch=one.batch, height=scaled(one, one.height), width=scaled(one, one.width)) for one in profiles
    )


def parse_profile(text: str) -> Profile:
    """The profile that `text` writes. Raises `OptionError`.

    A range of sides is tuned for its largest, since large images are where time goes; a range of batches for 1, since
    one tile is what a waiting user sees. Without `@` the batch is 1.
    """
    match = WRITTEN.fullmatch(text.strip())
    ranges = [_range(match[name] or "1") for name in ("height", "width", "batch")] if match else [None]
    if match is None or any(each is None for each in ranges):
        raise _refused(text, repr(text), "HEIGHTxWIDTH@BATCH, each a number or a range such as 64-512")
    (height, width, batch) = (each for each in ranges if each)
    profile = Profile(
        batch=Range(batch[0], batch[0], batch[1]),
        height=Range(height[0], height[1], height[1]),
        width=Range(width[0], width[1], width[1]),
    )
    _check_ranges(profile)
    return profile


def describe(profile: Profile) -> str:
    """The profile as `parse_profile` reads it, but for what it is tuned for."""
    height, width, batch = (
        str(least) if least == most else f"{least}-{most}"
        for least, _, most in (profile.height, profile.width, profile.batch)
    )
    return f"{height}x{width}@{batch}"


def fits(profile: Profile, n: int, height: int, width: int) -> bool:
    """Whether the profile takes such a batch of such tiles."""
    pairs = ((profile.batch, n), (profile.height, height), (profile.width, width))
    return all(each.least <= length <= each.most for each, length in pairs)


def choose_profile(profiles: Sequence[Profile], n: int, height: int, width: int) -> int | None:
    """The index of the narrowest profile that takes the shape, the first of equals; None where none does.

    Narrow is: the fewest sizes of tiles, then of batches, then the smallest tile. The narrowest is the fastest.
    """
    found = [index for index, profile in enumerate(profiles) if fits(profile, n, height, width)]
    return min(found, key=lambda index: (*_width(profiles[index]), index), default=None)


def check_profiles(profiles: Sequence[Profile], manifest: Manifest, role: Role) -> None:
    """Raise `OptionError` for profiles that the runtime can never feed to `role`, or that cannot be built."""
    if not profiles:
        raise _refused("none", "no profile", "at least one")
    images = takes_image(manifest.graphs[role]["fp32"].inputs)
    for index, profile in enumerate(profiles):
        text = describe(profile)
        _check_ranges(profile)
        if profile in profiles[:index]:
            raise _refused(text, "the same profile twice", "each once")
        if not images and (profile.height, profile.width) != (ONE, ONE):
            raise _refused(text, f"sides for {role}, which takes no image", "1x1@BATCH")
        if images:
            unit = manifest.latent.factor if manifest.latent else 1
            _check_sides(profile, manifest.tiles.multiple // unit, manifest.tiles.smallest // unit)


def _check_sides(profile: Profile, multiple: int, smallest: int) -> None:
    for side in (*profile.height, *profile.width):
        if side < smallest:
            raise _refused(describe(profile), f"a side of {side} px", f"at least {smallest}, the bundle's smallest")
        if side % multiple:
            raise _refused(describe(profile), f"a side of {side} px", f"multiples of {multiple}, as the bundle asks")


def _check_ranges(profile: Profile) -> None:
    limits = (("batch", profile.batch, MAX_BATCH), ("height", profile.height, MAX_SIDE))
    for name, (least, best, most), limit in (*limits, ("width", profile.width, MAX_SIDE)):
        if not 1 <= least <= best <= most <= limit:
            found = f"{name} {least} to {most}, tuned for {best}"
            raise _refused(describe(profile), found, f"1 to {limit}, the smaller first, the best in between")


def _width(profile: Profile) -> tuple[int, int, int]:
    (low, _, high), (left, _, right), (few, _, many) = profile.height, profile.width, profile.batch
    return (high - low + 1) * (right - left + 1), many - few + 1, high * right * many


def _range(text: str) -> tuple[int, int] | None:
    match = NUMBERS.fullmatch(text)
    return (int(match[1]), int(match[2] or match[1])) if match else None


def _fixed(side: int) -> Range:
    return Range(side, side, side)


def _refused(text: str, found: str, expected: str) -> OptionError:
    return OptionError(
        f"profile {text[:80]}",
        found=found[:120],
        expected=expected,
        mend="Write for instance 256x256, 256x512@1-8 or 64-512x64-512@1-4.",
    )
