"""Latent models through the Restorer: against NumPy, in every form, with words, at any size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lqhq.runtime.restorer import Restorer

Build = Callable[..., Path]


def test_smoke(latent_bundle: Build):
    for f in (2, 8):
        with Restorer.open(latent_bundle(f"b{f}", factor=f), threads=1) as r:
            im = np.random.default_rng(0).random((30, 40, 3), np.float32)
            out = r.restore(im)
            print(out.shape, r.plan(im).describe())
    with Restorer.open(latent_bundle("w", worded=True, tagged=True), threads=1, say=print) as r:
        print(r.restore(im, prompt="a cat", tagger=True).mean())
        print(r.restore(im).mean())
