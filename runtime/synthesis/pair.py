"""One pair: from an HQ file and a number to the bytes of its LQ partner and a row that says how it was made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lqhq.runtime.bundle import Bundle
from lqhq.runtime.degrade import Degradation, Degraded, degrade
from lqhq.runtime.errors import ImageError, LqhqError, OptionError
from lqhq.runtime.restorer import Restorer
from lqhq.runtime.synthesis.hq_image import read_hq
from lqhq.runtime.synthesis.pair_key import file_digest, noise_seed, pair_key, strength_share
from lqhq.runtime.synthesis.png_bytes import png_bytes
from lqhq.runtime.synthesis.settings import Settings
from lqhq.runtime.synthesis.sources import Source
from lqhq.runtime.synthesis.strength import steps_of
from lqhq.runtime.synthesis_spec import Synthesis

__all__ = ["Failure", "Maker", "Pair", "PairJob", "Recipe", "synthesis_of"]

Rgb = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PairJob:
    """Pair `index` of `source`."""

    source: Source
    index: int

    @property
    def name(self) -> str:
        return self.source.pair(self.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A finished pair: PNG files as bytes (`hq` is None where it is not asked for), and its row of the manifest."""

    job: PairJob
    lq: bytes
    hq: bytes | None
    row: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no pair."""

    job: PairJob
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """All that a worker needs; it travels to other processes."""

    bundle: Path
    degradation: Degradation
    settings: Settings

    @contextmanager
    def open(self) -> Iterator[Maker]:
        """What makes pairs, with a network of its own. Raises as `Restorer.open` does."""
        settings = self.settings
        with Restorer.open(self.bundle, precision=settings.precision, threads=settings.threads) as restorer:
            yield Maker(restorer, self.degradation, settings)


class Maker:
    """Makes pairs, each on its own and in batches of one: what is beside a pair cannot change its bytes."""

    def __init__(self, restorer: Restorer, degradation: Degradation, settings: Settings) -> None:
        self._restorer, self._degradation, self.settings = restorer, degradation, settings
        self._synthesis = synthesis_of(restorer.bundle)
        self._flipped = restorer.bundle.manifest.pixels.order != settings.channel_order

    @property
    def nominal(self) -> int:
        """The steps of a whole run from noise, of which a pair takes the last."""
        return self._synthesis.steps

    def __call__(self, job: PairJob) -> Pair | Failure:
        """The pair, or what is wrong with its image; only a fault of ours is raised."""
        try:
            return self._pair(job)
        except LqhqError as error:
            return Failure(job, str(error))
        except MemoryError:
            return Failure(job, f"{job.source.path}: memory ran out; give fewer --workers or a smaller --memory")

    def _pair(self, job: PairJob) -> Pair:
        settings, path = self.settings, job.source.path
        try:
            digest = file_digest(path)
        except OSError as error:
            raise ImageError(
                str(path), found=error.strerror or str(error), expected="a readable file", mend="Check its rights."
            ) from error
        key = pair_key(settings.seed, digest, job.index)
        hq = read_hq(path, settings.scale)
        degraded = self.degraded(hq, key)
        strength = settings.strengths.at(strength_share(key))
        steps = steps_of(strength, self._synthesis.steps)
        lq = png_bytes(self.restored(degraded.pixels, steps, noise_seed(key)))
        partner = png_bytes(hq) if settings.with_hq else None
        row = {
            "source": job.source.relative,
            "source_sha256": digest.hex(),
            "index": job.index,
            "lq_sha256": hashlib.sha256(lq).hexdigest(),
            "hq_sha256": None if partner is None else hashlib.sha256(partner).hexdigest(),
            "hq_size": [hq.shape[1], hq.shape[0]],
            "lq_size": [degraded.pixels.shape[1], degraded.pixels.shape[0]],
            "seed": settings.seed,
            "key": key.hex(),
            "degradation": settings.degradation,
            "degradation_sha256": settings.degradation_sha256,
            "parameters": list(degraded.parameters),
            "strength": strength,
            "steps": steps,
            "schedule": self._synthesis.schedules[steps - 1],
            "noise_seed": noise_seed(key),
            "bundle_sha256": settings.bundle,
            "lqhq": settings.versions["lqhq"],
        }
        return Pair(job=job, lq=lq, hq=partner, row=row)

    def degraded(self, hq: Rgb, key: bytes) -> Degraded:
        """`hq` `[H, W, 3]` by the degradation that `key` draws: its pixels are `[H / scale, W / scale, 3]`."""
        return degrade(hq, self._degradation, scale=self.settings.scale, key=key)

    def restored(self, lq: Rgb, steps: int, seed: int) -> Rgb:
        """`lq` `[h, w, 3]` taken `steps` into the noise and back, in the channel order of the settings."""
        schedule = self._synthesis.schedules[steps - 1]
        # The memory is a setting, not what is free: what is free would choose the tiles, and they the bytes.
        given = np.ascontiguousarray(lq[:, :, ::-1]) if self._flipped else lq
        result = self._restorer.restore(given, schedule=schedule, seed=seed, memory=self.settings.memory)
        return result[:, :, ::-1] if self._flipped else result


def synthesis_of(bundle: Bundle) -> Synthesis:
    """How the bundle makes LQ images. Raises `OptionError` where it does not."""
    manifest = bundle.manifest
    if manifest.synthesis is None or manifest.scale != 1:
        raise OptionError(
            "bundle",
            found=f"{manifest.name!r}, which does not say how LQ images are made with it",
            expected="a bundle for synthesis, which keeps the size",
            mend="`lqhq inspect` shows what a bundle is for; restore images with `lqhq upscale`.",
        )
    return manifest.synthesis
