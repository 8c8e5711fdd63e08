"""The runtime: open a bundle, restore images. Importable with NumPy, msgspec, ONNX Runtime and libvips alone.

Image files are read and written by `lqhq.runtime.image_file`, which needs libvips; so does `lqhq.runtime.degrade`.
"""

from __future__ import annotations

from lqhq.runtime.autotile import Choice
from lqhq.runtime.bundle import Bundle, open_bundle
from lqhq.runtime.errors import (
    BundleError,
    CancelledError,
    CheckpointError,
    EngineError,
    ImageError,
    LimitError,
    LqhqError,
    OptionError,
    ScheduleError,
)
from lqhq.runtime.latent_plan import LatentChoice
from lqhq.runtime.restorer import Restorer
from lqhq.runtime.schedule import Row, Schedule, Start

__all__ = [
    "Bundle",
    "BundleError",
    "CancelledError",
    "CheckpointError",
    "Choice",
    "EngineError",
    "ImageError",
    "LatentChoice",
    "LimitError",
    "LqhqError",
    "OptionError",
    "Restorer",
    "Row",
    "Schedule",
    "ScheduleError",
    "Start",
    "open_bundle",
]
