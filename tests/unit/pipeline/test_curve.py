"""Peak ejection and filling rates, from curves whose slopes are known."""

from dataclasses import replace

import numpy as np
import pytest

from models.synthetic.heart import draw_heart
from pipeline.stages.curve import FEWEST_PHASES_FOR_RATES, missing_times, peak_rates
from tests.unit.pipeline.cine_cases import label_stack

RR_MS = 900.0


def stack_of(times_ms, **changes):
    blank = label_stack(np.zeros((len(times_ms), 3, 4, 4), np.uint8))
    return replace(blank, trigger_times_ms=np.asarray(times_ms, float), **changes)


def beat(phases, seed=0):
    heart = draw_heart(np.random.default_rng(seed), phases, 10.0, 100.0)
    return heart.lv_ml, np.arange(phases) * RR_MS / phases


def true_rates(seed):
    curve, times = beat(900, seed)
    slopes = np.gradient(curve, times) * 1000
    return -slopes.min(), slopes.max()


def test_straight_lines_have_their_slopes_also_with_uneven_times():
    times = np.array([0, 40, 90, 130, 180, 220, 270, 310, 370, 410, 450, 500, 560, 600, 640, 700])
    curve = np.where(times < 310, 150 - 0.3 * times, 57 + 0.2 * (times - 310))
    ejection, filling = peak_rates(curve, stack_of(times))
    assert (ejection.value, filling.value) == (pytest.approx(300), pytest.approx(200))
    assert (ejection.unit, filling.unit) == ("ml/s", "ml/s")


@pytest.mark.parametrize("phases", [16, 20, 25, 30, 40])
def test_rates_of_a_synthetic_heart_are_within_15_percent(phases):
    for seed in range(6):
        curve, times = beat(phases, seed)
        rates = [one.value for one in peak_rates(curve, stack_of(times))]
        assert rates == pytest.approx(true_rates(seed), rel=0.15)


@pytest.mark.parametrize("phases", [20, 30, 40])
def test_noise_of_the_contours_does_not_make_the_peaks(phases):
    """Errors of 1.5 % of EDV in every phase: on average within 15 %, however many phases."""
    ratios = []
    for seed in range(20):
        curve, times = beat(phases, seed)
        noisy = curve + np.random.default_rng(seed).normal(0, 0.015 * curve.max(), phases)
        found = [one.value for one in peak_rates(noisy, stack_of(times))]
        ratios.append(np.divide(found, true_rates(seed)))
    assert np.mean(ratios, axis=0) == pytest.approx([1, 1], abs=0.15)


@pytest.mark.parametrize(
    ("phases", "pace", "estimates", "added_ml", "reason"),
    [
        (15, 1, False, 0, f"15 cardiac phases are too few: rates need {FEWEST_PHASES_FOR_RATES}"),
        (16, 1, True, 0, "no trigger times"),
        (16, 0, False, 0, "do not rise"),
        (16, 1, False, -1000, "no LV cavity was found in some phases"),
    ],
)
def test_without_phases_times_or_cavity_both_are_withheld(
    phases, pace, estimates, added_ml, reason
):
    curve, times = beat(phases)
    stack = stack_of(times * pace, times_are_estimates=estimates)
    for one in peak_rates(curve + added_ml, stack):
        assert one.value is None
        assert reason in one.withheld


def test_a_curve_that_never_rises_has_no_filling_rate():
    times = np.arange(16) * 40.0
    ejection, filling = peak_rates(200 - 0.1 * times, stack_of(times))
    assert ejection.value == pytest.approx(100)
    assert (filling.value, filling.withheld) == (None, "the LV volume never rises")


def without(stack, phases, of_slices=3):
    """The stack without the images of some phases in so many of its three slices."""
    return replace(
        stack,
        sources=tuple(
            (*[None] * of_slices, *row[of_slices:]) if phase in phases else row
            for phase, row in enumerate(stack.sources)
        ),
    )


@pytest.mark.parametrize(
    ("phases", "gaps"),
    [
        ((7,), "between 270 and 360 ms"),
        ((7, 8, 13), "between 270 and 405 ms, between 540 and 630 ms"),
    ],
)
def test_rates_are_withheld_where_phases_are_missing_and_the_times_are_named(phases, gaps):
    curve, times = beat(20)
    lost = without(stack_of(times), phases)
    assert missing_times(lost) == gaps
    shorter = stack_of(np.delete(times, phases))  # no slice has them, and the grid no hole
    assert missing_times(shorter) == gaps
    for stack, volumes in ((lost, curve), (shorter, np.delete(curve, phases))):
        for one in peak_rates(volumes, stack):
            assert (one.value, one.withheld) == (None, f"no cardiac phase lies {gaps}")


def test_a_phase_that_most_slices_have_is_not_missing():
    stack = stack_of(beat(20)[1])
    assert missing_times(without(stack, (7,), of_slices=1)) == ""
    assert missing_times(replace(without(stack, (7,)), times_are_estimates=True)) == ""
