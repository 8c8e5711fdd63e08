"""Degradations: low-quality partners of high-quality images, by drawn blur, resizing, noise and JPEG.

A degradation is data (`second_order.py`, `shuffled.py`), had by name or from a file (`presets.py`). From it and a key,
steps with every number in them are drawn (`steps.py`); only then pixels are touched (`apply.py`).
"""

from __future__ import annotations

from lqhq.runtime.degrade.degraded import Degraded, crop_to_scale, degrade, draw_steps
from lqhq.runtime.degrade.presets import NAMES, Degradation, load_degradation

__all__ = ["NAMES", "Degradation", "Degraded", "crop_to_scale", "degrade", "draw_steps", "load_degradation"]
