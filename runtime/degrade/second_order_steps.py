"""From the second-order model to the steps of one degradation: all its numbers are drawn here, no pixel is touched."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from lqhq.runtime.degrade.draws import Draws
from lqhq.runtime.degrade.ranges import draw_mode, draw_size
from lqhq.runtime.degrade.second_order import Blurring, Noising, Resizing, SecondOrder, Stage
from lqhq.runtime.degrade.steps import Blur, BlurKind, GaussianNoise, Jpeg, PoissonNoise, Resize, Sharpen, Sinc, Step

__all__ = ["draw_second_order"]

WIDE = 13  # from this size on a sinc filter may have the lower cut-off


def draw_second_order(model: SecondOrder, draws: Draws) -> tuple[Step, ...]:
    """Draw one degradation's steps. They do not depend on the image, nor on the scale: sizes follow when they run."""
    steps: list[Step] = []
    if model.sharpen.weight > 0:
        sharpen = model.sharpen
        steps.append(Sharpen(weight=sharpen.weight, size=sharpen.size, threshold=sharpen.threshold))
    steps += [*_blur(model.first.blur, draws), *_resize(model.first.resize, "image", draws)]
    steps += [_noise(model.first.noise, draws), _jpeg(model.first, draws)]
    steps += [*_blur(model.second.blur, draws), *_resize(model.second.resize, "lq", draws)]
    steps.append(_noise(model.second.noise, draws))
    jpeg = _jpeg(model.second, draws)
    reduced: list[Step] = [Resize(mode=draw_mode(model.final_modes, draws), factor=1.0, of="lq")]
    sinc = model.final_sinc
    if draws.chance(sinc.probability):
        reduced.append(Sinc(size=draw_size(sinc.size, draws), cutoff=draws.uniform(*sinc.cutoff)))
    return (*steps, *((*reduced, jpeg) if draws.chance(model.jpeg_last) else (jpeg, *reduced)))


def _blur(blur: Blurring, draws: Draws) -> tuple[Step, ...]:
    if not draws.chance(blur.probability):
        return ()
    size = draw_size(blur.size, draws)
    if draws.chance(blur.sinc):
        cutoff = blur.cutoff_narrow if size < WIDE else blur.cutoff_wide
        return (Sinc(size=size, cutoff=draws.uniform(*cutoff)),)
    kind: BlurKind = msgspec.convert(draws.pick(msgspec.structs.asdict(blur.kinds)), BlurKind)
    sigma_x, sigma_y, angle, beta = draws.uniform(*blur.sigma), 0.0, 0.0, 1.0
    if kind.endswith("aniso"):
        sigma_y, angle = draws.uniform(*blur.sigma), draws.uniform(-math.pi, math.pi)
    else:
        sigma_y = sigma_x
    if kind.startswith(("generalised", "plateau")):
        low, high = blur.generalised_beta if kind.startswith("generalised") else blur.plateau_beta
        beta = draws.uniform(low, 1) if draws.chance(0.5) else draws.uniform(1, high)
    return (Blur(kind=kind, size=size, sigma=(sigma_x, sigma_y), angle=angle, beta=beta),)


def _resize(resize: Resizing, of: Literal["image", "lq"], draws: Draws) -> tuple[Step, ...]:
    way = draws.pick({"up": resize.up, "down": resize.down, "keep": resize.keep})
    ranges = {"up": resize.up_factor, "down": resize.down_factor, "keep": (1.0, 1.0)}
    factor, mode = draws.uniform(*ranges[way]), draw_mode(resize.modes, draws)
    return (Resize(mode=mode, factor=factor, of=of),)


def _noise(noise: Noising, draws: Draws) -> Step:
    gaussian, gray = draws.chance(noise.gaussian), draws.chance(noise.gray)
    if gaussian:
        return GaussianNoise(sigma=draws.uniform(*noise.sigma), gray=gray)
    return PoissonNoise(scale=draws.uniform(*noise.scale), gray=gray)


def _jpeg(stage: Stage, draws: Draws) -> Jpeg:
    return Jpeg(quality=draws.whole(*stage.jpeg))
