"""Degradations by name, and a user's own from a file."""

from __future__ import annotations

from lqhq.runtime.degrade.override import overridden
from lqhq.runtime.degrade.second_order import Blurring, Noising, Resizing, SecondOrder, Sharpening, Stage
from lqhq.runtime.degrade.shuffled import Shuffled
from lqhq.runtime.errors import OptionError
from lqhq.runtime.manifest_types import Strict

__all__ = ["NAMES", "Degradation", "Plain", "load_degradation"]


class Plain(Strict, frozen=True, kw_only=True):
    """No degradation but the smaller size, by antialiased bicubic: what super-resolution benchmarks reduce with."""


Degradation = SecondOrder | Shuffled | Plain

# Source: the released training options of Real-ESRGAN x4plus.
REAL_ESRGAN = SecondOrder(
    sharpen=Sharpening(weight=0.5),
    first=Stage(
        blur=Blurring(sigma=(0.2, 3.0)),
        resize=Resizing(up=0.2, down=0.7, keep=0.1, up_factor=(1.0, 1.5), down_factor=(0.15, 1.0)),
        noise=Noising(sigma=(1.0, 30.0), scale=(0.05, 3.0)),
        jpeg=(30, 95),
    ),
    second=Stage(
        blur=Blurring(sigma=(0.2, 1.5), probability=0.8),
        resize=Resizing(up=0.3, down=0.4, keep=0.3, up_factor=(1.0, 1.2), down_factor=(0.3, 1.0)),
        noise=Noising(sigma=(1.0, 25.0), scale=(0.05, 2.5)),
        jpeg=(30, 95),
    ),
)
# Source: the options released with Yang et al., arXiv 2303.06994: where a diffusion model adds the realistic rest.
MILD = SecondOrder(
    sharpen=Sharpening(weight=0.0),
    first=Stage(
        blur=Blurring(sigma=(0.2, 3.0)),
        resize=Resizing(up=0.2, down=0.7, keep=0.1, up_factor=(1.0, 1.5), down_factor=(0.3, 1.0)),
        noise=Noising(sigma=(1.0, 15.0), scale=(0.05, 2.0)),
        jpeg=(60, 95),
    ),
    second=Stage(
        blur=Blurring(sigma=(0.2, 1.5), probability=0.5),
        resize=Resizing(up=0.3, down=0.4, keep=0.3, up_factor=(1.0, 1.2), down_factor=(0.6, 1.0)),
        noise=Noising(sigma=(1.0, 12.0), scale=(0.05, 1.0)),
        jpeg=(60, 100),
    ),
)
PRESETS: dict[str, Degradation] = {"mild": MILD, "real-esrgan": REAL_ESRGAN, "bsrgan": Shuffled(), "none": Plain()}
NAMES = tuple(PRESETS)


def load_degradation(name_or_path: str) -> Degradation:
    """A degradation by its name, one of `NAMES`, or from a path that ends in .toml.

    The file says `base = "mild"` (or another name) and then, in the tables of that degradation, what differs from it;
    a range or a probability that is not named stays as it was.

    Raises `OptionError` for an unknown name, a file that cannot be read or is not TOML, unknown keys, values out of
    range and probabilities that do not sum to one; `LimitError` for a file of more than 64 KiB.
    """
    if name_or_path in PRESETS:
        return PRESETS[name_or_path]
    if name_or_path.endswith(".toml"):
        return overridden(name_or_path, PRESETS)
    raise OptionError(
        "degradation",
        found=repr(name_or_path[:200]),
        expected=f"{', '.join(NAMES)}, or a path that ends in .toml",
        mend="Give one of these names, or write a file; the guide shows one.",
    )
