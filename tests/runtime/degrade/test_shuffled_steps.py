"""The drawn steps of the shuffled model against its probabilities and ranges, without a pixel."""

from __future__ import annotations

import hashlib
import itertools
import math

import numpy as np
import pytest

from lqhq.runtime.degrade.draws import Draws
from lqhq.runtime.degrade.shuffled import Shuffled
from lqhq.runtime.degrade.shuffled_steps import _order, draw_shuffled
from lqhq.runtime.degrade.steps import Blur, CorrelatedNoise, GaussianNoise, Jpeg, Resize, Subsample

COUNT = 3000


def key(index):
    return hashlib.sha256(b"shuffled 20261122 %d" % index).digest()


@pytest.fixture(scope="module")
def rows():
    return [draw_shuffled(Shuffled(), 4, Draws(key(index), 0)) for index in range(COUNT)]


def halved(row):
    return isinstance(row[0], Resize) and row[0].of == "image" and row[0].factor == 0.5


def body(row):
    """Without the halving and the last JPEG."""
    return row[1 if halved(row) else 0 : -1]


def near(values, probability):
    return abs(np.mean(values) - probability) <= 4.5 * math.sqrt(probability * (1 - probability) / len(values))


def test_halving(rows):
    assert near([halved(row) for row in rows], 0.25)
    assert near([row[0].mode == "antialiased" for row in rows if halved(row)], 0.5)
    other = draw_shuffled(Shuffled(halve=1.0), 2, Draws(key(0), 0))
    assert not halved(other)  # only for scale 4


def test_what_is_always_there(rows):
    for row in rows:
        kinds = [type(step) for step in body(row)]
        assert kinds.count(Blur) == 2
        assert kinds.count(GaussianNoise) + kinds.count(CorrelatedNoise) == 1
        assert kinds.count(Resize) + kinds.count(Subsample) == 2
        assert isinstance(row[-1], Jpeg)
    assert near([Jpeg in map(type, body(row)) for row in rows], 0.9)
    qualities = [step.quality for row in rows for step in row if isinstance(step, Jpeg)]
    assert set(qualities) == set(range(30, 96))


def test_every_order_is_equally_likely_but_for_the_reductions():
    draws = Draws(key(0), 1)
    found = [tuple(_order(["a", "b", "reduce 1", "reduce 2"], draws)) for _ in range(6000)]
    allowed = [
        order
        for order in itertools.permutations(("a", "b", "reduce 1", "reduce 2"))
        if order.index("reduce 1") < order.index("reduce 2")
    ]
    assert set(found) == set(allowed)
    assert all(abs(found.count(order) - 500) < 100 for order in allowed)


def test_the_second_reduction_is_the_last(rows):
    for row in rows:
        reductions = [step for step in body(row) if isinstance(step, Resize | Subsample)]
        assert isinstance(reductions[0], Subsample) or reductions[0].of == "image"
        assert (reductions[1].of, reductions[1].factor) == ("lq", 1.0)


def test_first_reduction(rows):
    firsts = [(halved(row), next(step for step in body(row) if isinstance(step, Resize | Subsample))) for row in rows]
    assert near([isinstance(step, Resize) for _, step in firsts], 0.75)
    for half, most in ((False, 8), (True, 4)):
        factors = [1 / step.factor for was, step in firsts if was is half and isinstance(step, Resize)]
        assert 1 <= min(factors) < 1.1 < most - 0.1 < max(factors) <= most + 1e-9
        assert abs(np.mean(factors) - (1 + most) / 2) < 4.5 * (most - 1) / math.sqrt(12 * len(factors))
        sampled = [step for was, step in firsts if was is half and isinstance(step, Subsample)]
        assert {(step.factor, step.size) for step in sampled} == {(most // 2, 25)}
        assert min(step.sigma for step in sampled) >= 0.1
        assert 0.27 * most < max(step.sigma for step in sampled) <= 0.3 * most


def test_blurs(rows):
    blurs = [(halved(row), step) for row in rows for step in body(row) if isinstance(step, Blur)]
    assert near([blur.kind == "aniso" for _, blur in blurs], 0.5)
    assert {blur.size for _, blur in blurs} == set(range(7, 26, 2))
    for half, widest, variance in ((False, 2.8, 8.0), (True, 2.4, 6.0)):
        iso = [blur.sigma[0] for was, blur in blurs if was is half and blur.kind == "iso"]
        assert 0.97 * widest < max(iso) <= widest
        assert abs(np.mean(iso) - widest / 2) < 4.5 * widest / math.sqrt(12 * len(iso))
        squares = [sigma**2 for was, blur in blurs if was is half and blur.kind == "aniso" for sigma in blur.sigma]
        assert 0.97 * variance < max(squares) <= variance + 1e-9
        assert abs(np.mean(squares) - variance / 2) < 4.5 * variance / math.sqrt(12 * len(squares))
    angles = [blur.angle for _, blur in blurs if blur.kind == "aniso"]
    assert 0 <= min(angles) < 0.1 < math.pi - 0.1 < max(angles) <= math.pi


def test_noise(rows):
    noises = [step for row in rows for step in body(row) if isinstance(step, GaussianNoise | CorrelatedNoise)]
    plain = [step for step in noises if isinstance(step, GaussianNoise)]
    assert near([isinstance(step, CorrelatedNoise) for step in noises], 0.2)
    assert near([step.gray for step in plain], 0.5)
    assert {step.sigma for step in plain} == set(map(float, range(2, 26)))
    for step in (step for step in noises if isinstance(step, CorrelatedNoise)):
        matrix = np.array(step.covariance)
        assert np.array_equal(matrix, matrix.T)
        assert matrix.min() >= 0
        assert np.linalg.eigvalsh(matrix).min() > -1e-9
        assert np.trace(matrix) <= 3 * 625
