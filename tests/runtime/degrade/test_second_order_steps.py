"""The drawn steps of the second-order model against its probabilities and ranges, without a pixel."""

from __future__ import annotations

import hashlib
import math

import msgspec
import numpy as np
import pytest

from lqhq.runtime.degrade.draws import Draws
from lqhq.runtime.degrade.presets import MILD, REAL_ESRGAN
from lqhq.runtime.degrade.second_order_steps import draw_second_order
from lqhq.runtime.degrade.steps import Blur, GaussianNoise, Jpeg, PoissonNoise, Resize, Sharpen, Sinc

COUNT = 3000
MODELS = {"mild": MILD, "real-esrgan": REAL_ESRGAN}
# What the released options say, written out again: noise sigma, Poisson scale, quality, smallest factor, blur's share.
FIRST = {"mild": (15, 2.0, (60, 95), 0.3, 1.0), "real-esrgan": (30, 3.0, (30, 95), 0.15, 1.0)}
SECOND = {"mild": (12, 1.0, (60, 100), 0.6, 0.5), "real-esrgan": (25, 2.5, (30, 95), 0.3, 0.8)}


def key(index):
    return hashlib.sha256(b"second-order 20261122 %d" % index).digest()


@pytest.fixture(scope="module", params=MODELS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def rows(name):
    """Each drawing as (first stage, second stage, end), the sharpening checked and taken off."""
    found = []
    for index in range(COUNT):
        steps = list(draw_second_order(MODELS[name], Draws(key(index), 0)))
        if name == "real-esrgan":
            assert steps.pop(0) == Sharpen(weight=0.5, size=51, threshold=10.0)
        first_jpeg = next(place for place, step in enumerate(steps) if isinstance(step, Jpeg)) + 1
        noise = 1 + max(i for i, step in enumerate(steps) if isinstance(step, GaussianNoise | PoissonNoise))
        found.append((steps[:first_jpeg], steps[first_jpeg:noise], steps[noise:]))
    return found


def shares(values, expected):
    """Whether names occur as often as expected: within four and a half deviations of a binomial."""
    for value, probability in expected.items():
        deviation = math.sqrt(max(probability * (1 - probability), 1e-12) / len(values))
        assert abs(values.count(value) / len(values) - probability) <= 4.5 * deviation, (value, probability)
    assert set(values) <= set(expected)


def spans(values, low, high):
    """Whether the values fill a range evenly: ends, mean and spread."""
    assert low <= min(values) <= low + 0.03 * (high - low)
    assert high >= max(values) >= high - 0.03 * (high - low)
    assert abs(np.mean(values) - (low + high) / 2) < 4.5 * (high - low) / math.sqrt(12 * len(values))
    assert abs(np.std(values) / ((high - low) / math.sqrt(12)) - 1) < 0.1


def test_order_of_the_stages(rows):
    for first, second, _ in rows:
        assert [type(step) for step in first[-3:]] == [Resize, type(first[-2]), Jpeg]
        assert isinstance(first[-2], GaussianNoise | PoissonNoise)
        assert isinstance(second[-2], Resize)
        assert (first[-3].of, second[-2].of) == ("image", "lq")
        assert all(isinstance(step, Blur | Sinc) for step in (*first[:-3], *second[:-2]))


@pytest.mark.parametrize("stage", [0, 1])
def test_blurs(rows, name, stage):
    share = (FIRST, SECOND)[stage][name][4]
    blurs = [row[stage][0] for row in rows if isinstance(row[stage][0], Blur | Sinc)]
    shares([isinstance(row[stage][0], Blur | Sinc) for row in rows], {True: share, False: 1 - share})
    shares([type(blur) for blur in blurs], {Sinc: 0.1, Blur: 0.9})
    shares([blur.size for blur in blurs], dict.fromkeys(range(7, 22, 2), 1 / 8))
    plain = [blur for blur in blurs if isinstance(blur, Blur)]
    kinds = {"iso": 0.45, "aniso": 0.25, "generalised_iso": 0.12, "generalised_aniso": 0.03}
    shares([blur.kind for blur in plain], kinds | {"plateau_iso": 0.12, "plateau_aniso": 0.03})
    spans([blur.sigma[0] for blur in plain], 0.2, (3, 1.5)[stage])
    for blur in plain:
        assert (blur.sigma[0] == blur.sigma[1] and blur.angle == 0) or blur.kind.endswith("aniso")
    aniso = [blur for blur in plain if blur.kind.endswith("aniso")]
    spans([blur.sigma[1] for blur in aniso], 0.2, (3, 1.5)[stage])
    spans([blur.angle for blur in aniso], -math.pi, math.pi)


def test_exponents(rows):
    blurs = [step for row in rows for step in (row[0][0], row[1][0]) if isinstance(step, Blur)]
    assert {blur.beta for blur in blurs if blur.kind in ("iso", "aniso")} == {1.0}
    generalised = [blur.beta for blur in blurs if blur.kind.startswith("generalised")]
    shares([beta < 1 for beta in generalised], {True: 0.5, False: 0.5})
    spans([beta for beta in generalised if beta < 1], 0.5, 1)
    spans([beta for beta in generalised if beta >= 1], 1, 4)
    plateau = [blur.beta for blur in blurs if blur.kind.startswith("plateau")]
    shares([beta == 1 for beta in plateau], {True: 0.5, False: 0.5})
    spans([beta for beta in plateau if beta > 1], 1, 2)


def test_cut_offs(rows):
    sincs = [step for row in rows for step in (row[0][0], row[1][0]) if isinstance(step, Sinc)]
    spans([sinc.cutoff for sinc in sincs if sinc.size < 13], 1 / 3, 1)
    spans([sinc.cutoff for sinc in sincs if sinc.size >= 13], 1 / 5, 1)


@pytest.mark.parametrize("stage", [0, 1])
def test_resizing(rows, name, stage):
    smallest, largest = (FIRST, SECOND)[stage][name][3], (1.5, 1.2)[stage]
    steps = [row[stage][-3 if stage == 0 else -2] for row in rows]
    up, down, keep = ((0.2, 0.7, 0.1), (0.3, 0.4, 0.3))[stage]
    shares([int(np.sign(step.factor - 1)) for step in steps], {1: up, -1: down, 0: keep})
    spans([step.factor for step in steps if step.factor > 1], 1, largest)
    spans([step.factor for step in steps if step.factor < 1], smallest, 1)
    shares([step.mode for step in steps], dict.fromkeys(("area", "bilinear", "bicubic"), 1 / 3))


@pytest.mark.parametrize("stage", [0, 1])
def test_noise(rows, name, stage):
    sigma, scale = (FIRST, SECOND)[stage][name][:2]
    steps = [row[stage][-2 if stage == 0 else -1] for row in rows]
    shares([type(step) for step in steps], {GaussianNoise: 0.5, PoissonNoise: 0.5})
    shares([step.gray for step in steps], {True: 0.4, False: 0.6})
    spans([step.sigma for step in steps if isinstance(step, GaussianNoise)], 1, sigma)
    spans([step.scale for step in steps if isinstance(step, PoissonNoise)], 0.05, scale)


def test_qualities(rows, name):
    for table, jpegs in (
        (FIRST, [row[0][-1] for row in rows]),
        (SECOND, [step for row in rows for step in row[2] if isinstance(step, Jpeg)]),
    ):
        low, high = table[name][2]
        assert len(jpegs) == COUNT
        assert {jpeg.quality for jpeg in jpegs} == set(range(low, high + 1))
        assert abs(np.mean([jpeg.quality for jpeg in jpegs]) - (low + high) / 2) < 1.7


def test_the_end(rows):
    ends = [row[2] for row in rows]
    resizes = [step for end in ends for step in end if isinstance(step, Resize)]
    assert len(resizes) == COUNT
    assert {(step.factor, step.of) for step in resizes} == {(1.0, "lq")}
    shares([step.mode for step in resizes], dict.fromkeys(("area", "bilinear", "bicubic"), 1 / 3))
    shares([isinstance(end[-1], Jpeg) for end in ends], {True: 0.5, False: 0.5})
    sincs = [step for end in ends for step in end if isinstance(step, Sinc)]
    assert abs(len(sincs) / COUNT - 0.8) < 4.5 * math.sqrt(0.16 / COUNT)
    spans([sinc.cutoff for sinc in sincs], 1 / 3, 1)
    for end in ends:
        kinds = [type(step) for step in end if not isinstance(step, Jpeg)]
        assert kinds in ([Resize], [Resize, Sinc])
        assert isinstance(end[0], Jpeg) or isinstance(end[-1], Jpeg)


@pytest.mark.parametrize("path", ["gray", "gaussian"])
def test_planted_probability_is_found(path):
    noise = msgspec.structs.replace(MILD.first.noise, **{path: 0.55})
    model = msgspec.structs.replace(MILD, first=msgspec.structs.replace(MILD.first, noise=noise))
    steps = [draw_second_order(model, Draws(key(index), 0)) for index in range(COUNT)]
    noises = [next(step for step in row if isinstance(step, GaussianNoise | PoissonNoise)) for row in steps]
    checks = {
        "gray": ([step.gray for step in noises], {True: 0.4, False: 0.6}),
        "gaussian": ([type(step) for step in noises], {GaussianNoise: 0.5, PoissonNoise: 0.5}),
    }
    shares(*checks.pop("gaussian" if path == "gray" else "gray"))
    with pytest.raises(AssertionError):
        shares(*checks[path])
