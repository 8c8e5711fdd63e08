"""Metrics against plain loops, bounds at their edges, and verdicts that must turn red."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from lqhq.runtime.parity import FINISHED, FORWARD, TRAJECTORY, Report, Tolerance, compare, measure, ssim


def draw(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, shape)


def test_measures_against_plain_loops():
    a, b = draw(1, 2, 12, 14), draw(2, 2, 12, 14)
    found = measure(a, b, peak=1.0)
    errors = sorted(abs(x - y) for x, y in zip(a.flat, b.flat, strict=True))
    assert found.max_abs == errors[-1]
    assert errors[-2] <= found.p99_9 <= errors[-1]
    assert found.psnr == pytest.approx(-10 * math.log10(sum(e * e for e in errors) / len(errors)))
    assert found.changed == 1.0


def test_ssim_against_a_plain_loop():
    """Every window written out: Wang et al. 2004 with 11x11, sigma 1.5, K 0.01 and 0.03."""
    a, b, peak = 255 * draw(3, 13, 12), 255 * draw(4, 13, 12), 255.0
    window = np.array([[math.exp(-((i - 5) ** 2 + (j - 5) ** 2) / 4.5) for j in range(11)] for i in range(11)])
    window /= window.sum()
    values = []
    for y in range(3):
        for x in range(2):
            p, q = a[y : y + 11, x : x + 11], b[y : y + 11, x : x + 11]
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
            cov = (window * (p - mp) * (q - mq)).sum()
            c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
            values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    assert ssim(a, b, peak=peak) == pytest.approx(np.mean(values), rel=1e-9)
    assert ssim(a, a, peak=peak) == pytest.approx(1.0)
    assert ssim(a[:10], b[:10], peak=peak) is None


def test_equal_arrays():
    found = measure(draw(1, 3, 4), draw(1, 3, 4), peak=1.0)
    assert (found.max_abs, found.psnr, found.changed, found.nan_count) == (0.0, None, 0.0, 0)


@pytest.mark.parametrize("tolerance", [TRAJECTORY, FORWARD, Tolerance(max_abs=math.inf)])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("side", ["ours", "reference", "both"])
def test_what_is_no_finite_number_fails_anywhere(side, value, tolerance):
    a, b = draw(1, 3, 4), draw(1, 3, 4)
    if side != "reference":
        a[1, 1] = value
    if side != "ours":
        b[1, 1] = value
    case = compare("x", "y", a, b, peak=1.0, tolerance=tolerance)
    assert not case.passed
    assert case.measure.nan_count == (2 if side == "both" else 1)


def test_an_infinite_reference_does_not_raise_the_bound():
    reference = np.array([[1.0, math.inf]])
    assert compare("x", "y", reference, reference, peak=1.0, tolerance=FORWARD).tolerance == FORWARD.max_abs


def test_the_largest_float32_can_be_measured():
    a = np.full((12, 12), np.finfo(np.float32).max)
    found = measure(a, -a, peak=2.0)
    assert found.psnr == pytest.approx(-770.6, abs=0.1)
    assert found.nan_count == 0


def test_unequal_shapes_fail():
    case = compare("x", "y", draw(1, 3, 4), draw(1, 4, 3), peak=1.0, tolerance=TRAJECTORY)
    assert not case.passed
    assert "(3, 4) for (4, 3)" in case.case
    with pytest.raises(ValueError, match="differ"):
        measure(draw(1, 3, 4), draw(1, 4, 3), peak=1.0)


@pytest.mark.parametrize(
    ("scale", "error", "passed"),
    [(1, 1.9e-5, True), (1, 2.1e-5, False), (10, 1.9e-4, True), (10, 2.1e-4, False), (0.1, 1.9e-5, True)],
)
def test_the_forward_bound_grows_with_large_references_only(scale, error, passed):
    reference = np.full((3, 4), float(scale))
    assert compare("x", "y", reference + error, reference, peak=2.0, tolerance=FORWARD).passed is passed


@pytest.mark.parametrize(
    ("side", "count", "step", "passed"),
    [(100, 10, 1, True), (100, 11, 1, False), (10, 4, 1, True), (10, 5, 1, False), (100, 1, 2, False)],
)
def test_finished_images_may_differ_by_one_level_in_one_value_of_a_thousand(side, count, step, passed):
    reference = np.full((side, side), 100, np.uint8)
    ours = reference.copy()
    ours.flat[:count] += np.uint8(step)
    assert compare("x", "y", ours, reference, peak=255, tolerance=FINISHED).passed is passed


def test_levels_below_the_reference_do_not_wrap_around():
    case = compare("x", "y", np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8), peak=255, tolerance=FINISHED)
    assert case.measure.max_abs == 1.0


def report() -> Report:
    a = draw(5, 20, 20)
    good = compare("role", "good", a, a, peak=1.0, tolerance=TRAJECTORY)
    near = compare("role", "near", a + 5e-5, a, peak=1.0, tolerance=TRAJECTORY)
    bad = compare("image", "bad", a + 1e-2, a, peak=1.0, tolerance=TRAJECTORY)
    return Report(cases=(good, near, bad))


def test_the_verdict_and_the_worst_of_each_kind():
    found = report()
    assert not found.passed
    assert not Report(cases=()).passed  # nothing compared is nothing proven
    role, image = found.records()
    assert (role.what, role.cases, role.passed, role.max_abs) == ("role", 2, True, pytest.approx(5e-5))
    assert (image.cases, image.passed) == (1, False)
    assert role.psnr == pytest.approx(86.0, abs=0.1)


def test_the_table_and_the_json_say_the_same():
    found = report()
    lines = found.table().splitlines()
    assert [line.split()[-1] for line in lines[1:4]] == ["ok", "ok", "FAILED"]
    assert lines[4] == "PARITY FAILS in 1 of 3 cases"
    assert "equal" in lines[1]
    data = json.loads(found.to_json())
    assert data["passed"] is False
    assert [case["passed"] for case in data["cases"]] == [True, True, False]


def test_a_least_psnr_alone_decides():
    """One value off by 0.5 of 1000 is 36 dB; a bound on the largest difference would not let it pass."""
    a = draw(5, 10, 100)
    b = a.copy()
    b[3, 4] += 0.5
    exact = -10 * math.log10(0.25 / 1000)
    for least, passed in ((exact - 1e-6, True), (exact + 1e-6, False)):
        case = compare("x", "y", b, a, peak=1.0, tolerance=Tolerance(least_psnr=least, max_abs=1e-9, changed=0.0))
        assert case.passed is passed
        assert (case.unit, case.tolerance) == ("dB", least)
    assert compare("x", "y", a, a, peak=1.0, tolerance=Tolerance(least_psnr=1e6)).passed


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_psnr_excuses_what_is_not_finite(value):
    a = draw(5, 10, 100)
    b = a.copy()
    b[0, 0] = value
    for ours, theirs in ((b, a), (a, b), (b, b)):
        case = compare("x", "y", ours, theirs, peak=1.0, tolerance=Tolerance(least_psnr=-1000.0))
        assert not case.passed
        assert case.measure.nan_count > 0


def test_other_shapes_and_nothing_at_all_fail_a_least_psnr():
    least = Tolerance(least_psnr=-1000.0)
    case = compare("x", "y", draw(1, 3), draw(1, 4), peak=1.0, tolerance=least)
    assert (case.passed, case.unit, case.tolerance) == (False, "dB", -1000.0)
    assert "shape (3,) for (4,)" in case.case
    assert not compare("x", "y", draw(1, 0), draw(1, 0), peak=1.0, tolerance=least).passed


def test_the_record_of_decibels_keeps_the_least_of_them():
    """Of bounds in dB the worst is the smallest, of absolute ones the largest."""
    a = draw(5, 10, 100)
    bounds = (50.0, 40.0, 60.0)
    cases = [compare("x", str(bound), a, a, peak=1.0, tolerance=Tolerance(least_psnr=bound)) for bound in bounds]
    (record,) = Report(precision="fp16", how="emulated", cases=tuple(cases)).records()
    assert (record.unit, record.tolerance, record.precision, record.psnr) == ("dB", 40.0, "fp16", None)


def test_the_verdict_names_the_precision_and_how_it_was_run():
    a = draw(5, 10, 100)
    cases = (compare("x", "y", a, a, peak=1.0, tolerance=Tolerance(least_psnr=50.0)),)
    report = Report(precision="fp16", how="emulated here", cases=cases)
    assert report.table().splitlines()[-1] == "parity holds in 1 cases (fp16, emulated here)"
    assert "50.0 dB" in report.table()
    told = json.loads(report.to_json())
    assert (told["precision"], told["how"], told["cases"][0]["unit"]) == ("fp16", "emulated here", "dB")
    assert Report(cases=cases).table().splitlines()[-1] == "parity holds in 1 cases"
