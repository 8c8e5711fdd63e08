"""From the shuffled model to the steps of one degradation: all its numbers are drawn here, no pixel is touched."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from lqhq.runtime.degrade.draws import Draws
from lqhq.runtime.degrade.ranges import draw_mode, draw_size
from lqhq.runtime.degrade.shuffled import Blurs, Colours, Reductions, Shuffled
from lqhq.runtime.degrade.steps import Blur, CorrelatedNoise, GaussianNoise, Jpeg, Mode, Resize, Step, Subsample

__all__ = ["draw_shuffled"]


def draw_shuffled(model: Shuffled, scale: int, draws: Draws) -> tuple[Step, ...]:
    """Draw one degradation's steps. They do not depend on the image: sizes follow when they run."""
    steps: list[Step] = []
    if scale == 4 and draws.chance(model.halve):
        antialiased = draws.chance(model.antialiased)
        mode: Mode = "antialiased" if antialiased else draw_mode(model.reduce.modes, draws)
        steps.append(Resize(mode=mode, factor=0.5, of="image"))
        scale = 2
    operations: dict[str, Callable[[], tuple[Step, ...]]] = {
        "blur 1": lambda: (_blur(model.blur, scale, draws),),
        "blur 2": lambda: (_blur(model.blur, scale, draws),),
        "reduce 1": lambda: (_reduce(model.reduce, scale, draws),),
        "reduce 2": lambda: (Resize(mode=draw_mode(model.reduce.modes, draws), factor=1.0, of="lq"),),
        "noise": lambda: (_noise(model.noise, draws),),
        "jpeg": lambda: (_jpeg(model, draws),) if draws.chance(model.jpeg) else (),
    }
    for name in _order(list(operations), draws):
        steps += operations[name]()
    return (*steps, _jpeg(model, draws))


def _order(names: list[str], draws: Draws) -> list[str]:
    """Fisher and Yates' shuffle; where the second reduction would come before the first, they change places."""
    for last in range(len(names) - 1, 0, -1):
        other = draws.whole(0, last)
        names[last], names[other] = names[other], names[last]
    first, second = sorted((names.index("reduce 1"), names.index("reduce 2")))
    names[first], names[second] = "reduce 1", "reduce 2"
    return names


def _blur(blur: Blurs, scale: int, draws: Draws) -> Blur:
    aniso = draws.chance(blur.aniso)
    size = draw_size(blur.size, draws)
    if not aniso:
        sigma = draws.uniform(0, blur.sigma[0] + blur.sigma[1] * scale)
        return Blur(kind="iso", size=size, sigma=(sigma, sigma))
    most = blur.variance[0] + blur.variance[1] * scale
    sigmas = math.sqrt(draws.uniform(0, most)), math.sqrt(draws.uniform(0, most))
    return Blur(kind="aniso", size=size, sigma=sigmas, angle=draws.uniform(0, math.pi))


def _reduce(reduce: Reductions, scale: int, draws: Draws) -> Step:
    if draws.chance(reduce.resize):
        factor = 1 / draws.uniform(1, reduce.most * scale)
        return Resize(mode=draw_mode(reduce.modes, draws), factor=factor, of="image")
    low, high = reduce.sigma
    return Subsample(sigma=draws.uniform(low, high * scale), size=reduce.size, factor=scale)


def _noise(noise: Colours, draws: Draws) -> Step:
    kind = draws.pick({"colour": noise.colour, "gray": noise.gray, "correlated": noise.correlated})
    if kind != "correlated":
        return GaussianNoise(sigma=float(draws.whole(*noise.sigma)), gray=kind == "gray")
    strengths, matrix = draws.uniforms(3), draws.normals(9).astype(np.float64).reshape(3, 3)
    rotation = np.linalg.qr(matrix).Q
    # |A| of a positive semi-definite 3x3 matrix is one too: its determinant can only grow.
    covariance = noise.correlated_sigma**2 * np.abs(rotation.T @ np.diag(strengths) @ rotation)
    red, green, blue = ((covariance + covariance.T) / 2).tolist()
    return CorrelatedNoise(covariance=(tuple(red), tuple(green), tuple(blue)))


def _jpeg(model: Shuffled, draws: Draws) -> Jpeg:
    return Jpeg(quality=draws.whole(*model.quality))
