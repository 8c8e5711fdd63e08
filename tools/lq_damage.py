"""Damage that makes small photos look as an archive has them: noisy phone shots, and scans of film.

The look is chosen to differ from what a chain of blurs, white noise and resizing makes: noise that demosaicing has
spread and the camera's denoising has left in blotches of colour, halos of sharpening, and last, on the final grid of
pixels, a strong JPEG with halved colour.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Array", "Pixels", "blur", "damage", "film", "jpeg", "mosaic_noise", "phone", "to_ycc"]

Pixels = NDArray[np.uint8]
Array = NDArray[np.float32]

FILM = 0.25  # share of scans; the rest are phone shots
QUALITY = (25, 60)  # JPEG: blocks can be seen at 25, and are still there at 60
GAIN = (0.004, 0.012)  # variance of shot noise at full light: a phone at high sensitivity
READ = 0.006  # standard deviation of the sensor's read-out noise; full light is 1
BALANCE = (2.0, 1.0, 1.6)  # white balance multiplies red and blue, and their noise
GAMMA = 2.2
SOFT = (0.4, 0.7)  # pixels, standard deviation of the lens's blur
CORE, KEPT = (6.0, 12.0), 0.3  # levels: the camera takes weaker detail for noise, and keeps this share of it
DETAIL = 1.0  # pixels: what a blur of this standard deviation removes is detail
CHROMA = (1.5, 2.5)  # pixels, standard deviation of the camera's smoothing of colour: blotches become that large
HALO, RIM = (0.7, 1.4), 1.2  # amount of sharpening, and its standard deviation in pixels: halos can be seen
GRAIN, GRAIN_SIZE = (9.0, 14.0), 0.8  # levels at middle grey; pixels, standard deviation
GRAIN_COLOUR = 0.4  # part of the grain that differs between the dyes
SCANNER = 0.2  # pixels by which a scan is softer than the lens alone
# Rows: Y, Cb, Cr of JFIF (BT.601, full range), without the offset of 128.
YCC = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)


def to_ycc(image: Array) -> Array:
    """RGB `[H, W, 3]` to Y in the same range and Cb, Cr around 0 (JFIF)."""
    return image @ YCC.T


def _from_ycc(image: Array) -> Array:
    return image @ np.linalg.inv(YCC).T.astype(np.float32)


def blur(image: Array, sigma: float) -> Array:
    """Gaussian of standard deviation `sigma` pixels over `[H, W, ...]`; borders are mirrored."""
    radius = max(1, round(3 * sigma))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    for axis in (0, 1):
        pad = [(radius, radius) if a == axis else (0, 0) for a in range(image.ndim)]
        padded = np.pad(image, pad, mode="symmetric")
        length = image.shape[axis]
        parts = (np.take(padded, range(k, k + length), axis) * tap for k, tap in enumerate(taps))
        image = np.asarray(sum(parts), dtype=np.float32)
    return image


def mosaic_noise(light: Array, gain: float, draw: np.random.Generator) -> Array:
    """Noise of a sensor with an RGGB mosaic after bilinear demosaicing, same shape as `light` `[H, W, 3]` in [0, 1].

    Variance of a sample: `gain` times its light, plus read-out noise, both before white balance.
    """
    height, width = light.shape[:2]
    balance = np.array(BALANCE, np.float32)
    sigma = balance * np.sqrt(gain * light / balance + READ**2)
    noise = sigma * draw.standard_normal((height, width, 3), dtype=np.float32)
    rows, columns = np.ogrid[:height, :width]
    red, blue = (rows % 2 + columns % 2 == 0), (rows % 2 + columns % 2 == 2)
    noise *= np.stack([red, ~(red | blue), blue], axis=-1)
    padded = np.pad(noise, ((1, 1), (1, 1), (0, 0)))
    up, down, left, right = padded[:-2], padded[2:], padded[:, :-2], padded[:, 2:]
    plus = up[:, 1:-1] + down[:, 1:-1] + left[1:-1] + right[1:-1]
    corners = up[:, :-2] + up[:, 2:] + down[:, :-2] + down[:, 2:]
    green = noise[..., 1] + plus[..., 1] / 4
    others = noise + plus / 2 + corners / 4
    return np.stack([others[..., 0], green, others[..., 2]], axis=-1)


def phone(image: Array, draw: np.random.Generator) -> Array:
    """What a phone's camera makes of `[H, W, 3]` in [0, 255]: blur, noise, denoising, sharpening."""
    soft = np.clip(blur(image, draw.uniform(*SOFT)), 0, 255)
    light = np.asarray((soft / 255) ** GAMMA, dtype=np.float32)
    light = light + mosaic_noise(light, draw.uniform(*GAIN), draw)
    ycc = to_ycc(np.asarray(255 * np.clip(light, 0, 1) ** (1 / GAMMA), dtype=np.float32))
    smooth = blur(ycc[..., 0], DETAIL)
    detail, core = ycc[..., 0] - smooth, draw.uniform(*CORE)
    luma = smooth + detail * (KEPT + (1 - KEPT) * np.minimum(np.abs(detail) / core, 1))
    luma = luma + draw.uniform(*HALO) * (luma - blur(luma, RIM))
    colour = blur(ycc[..., 1:], draw.uniform(*CHROMA))
    return _from_ycc(np.concatenate([luma[..., None], colour], axis=-1))


def film(image: Array, draw: np.random.Generator) -> Array:
    """A scan of film, `[H, W, 3]` in [0, 255]: soft, with grain that is coarser than a pixel and mostly grey."""
    soft = blur(image, draw.uniform(*SOFT) + SCANNER)
    grain = blur(draw.standard_normal(soft.shape, dtype=np.float32), GRAIN_SIZE)
    grain = grain.mean(axis=-1, keepdims=True) + GRAIN_COLOUR * grain
    tone = np.clip(soft / 255, 0.02, 0.98)  # neither black nor white is quite without grain
    strength = draw.uniform(*GRAIN) * np.sqrt(4 * tone * (1 - tone))
    return np.asarray(soft + strength * grain / grain.std(), dtype=np.float32)


def jpeg(image: Pixels, quality: int) -> Pixels:
    """Once through JPEG with colour at half size (4:2:0), as phones save."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=2)
    return np.asarray(Image.open(file).convert("RGB"))


def damage(lq: Pixels, seed: tuple[int, ...]) -> Pixels:
    """A small photo, uint8 `[H, W, 3]`, with the damage of this seed; the JPEG grid starts at its corner."""
    draw = np.random.default_rng(seed)
    look = film if draw.random() < FILM else phone
    worse = look(lq.astype(np.float32), draw)
    return jpeg(np.clip(np.rint(worse), 0, 255).astype(np.uint8), int(draw.integers(QUALITY[0], QUALITY[1] + 1)))
