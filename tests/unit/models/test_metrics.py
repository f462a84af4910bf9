"""Figures of an evaluation against cases worked out by hand."""

import math

import numpy as np
import pytest

from models.training.metrics import (
    agreement,
    area_under_roc,
    cyclic_frames,
    dice,
    ejection_fraction,
    hausdorff_mm,
    mean_interval,
    statistics,
)


def test_dice_of_known_masks():
    one = np.array([1, 1, 1, 0], dtype=bool)
    assert dice(one, np.array([0, 1, 1, 1], dtype=bool)) == pytest.approx(2 / 3)
    assert dice(~one & one, ~one & one) == 1
    assert dice(one, ~one) == 0


def test_area_under_roc_counts_pairs_in_order_and_ties_half():
    truth = [True, True, False, False]
    assert area_under_roc([0.9, 0.4, 0.4, 0.1], truth) == pytest.approx(3.5 / 4)
    assert area_under_roc([1, 2, 3, 4], truth) == 0
    assert math.isnan(area_under_roc([0.1, 0.2], [True, True]))


def box(shape, *ranges):
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(low, high) for low, high in ranges)] = True
    return mask


@pytest.mark.parametrize(
    ("move", "distance"),
    [((1, 0, 0), 8.0), ((0, 3, 0), 3 * 1.5), ((0, 0, 3), 3 * 2.0), ((0, 3, 4), math.hypot(4.5, 8))],
)
def test_hausdorff_of_a_moved_box_is_the_way_it_moved(move, distance):
    truth = box((6, 30, 30), (1, 4), (5, 15), (5, 15))
    found = np.roll(truth, move, axis=(0, 1, 2))
    assert hausdorff_mm(found, truth, (8.0, 1.5, 2.0)) == pytest.approx(distance)
    assert hausdorff_mm(truth, found, (8.0, 1.5, 2.0)) == pytest.approx(distance)


def test_hausdorff_counts_the_one_stray_voxel():
    truth = box((3, 40, 40), (0, 3), (5, 10), (5, 10))
    found = truth.copy()
    found[1, 29, 5] = True
    assert hausdorff_mm(found, truth, (10.0, 1.0, 1.0)) == pytest.approx(20)
    assert hausdorff_mm(truth, found, (10.0, 1.0, 1.0)) == pytest.approx(20)
    assert hausdorff_mm(truth, truth, (10.0, 1.0, 1.0)) == 0


def test_hausdorff_is_between_surfaces_not_between_sets():
    """The wall of a hole lies two voxels under the surface, its middle one from the wall."""
    filled = box((5, 21, 21), (0, 5), (0, 21), (0, 21))
    hollow = filled & ~box((5, 21, 21), (2, 3), (10, 11), (10, 11))
    assert hausdorff_mm(hollow, filled, (1.0, 1.0, 1.0)) == pytest.approx(2.0)


def test_hausdorff_of_nothing_is_no_number():
    truth = box((2, 5, 5), (0, 1), (1, 2), (1, 2))
    assert math.isnan(hausdorff_mm(truth & ~truth, truth, (1.0, 1.0, 1.0)))


def test_ejection_fraction():
    assert ejection_fraction(150, 60) == pytest.approx(60)
    assert math.isnan(ejection_fraction(0, 0))


@pytest.mark.parametrize(("first", "second", "frames"), [(0, 29, 1), (3, 3, 0), (2, 17, 15)])
def test_frames_are_counted_round_the_cycle(first, second, frames):
    assert cyclic_frames(first, second, 30) == frames
    assert cyclic_frames(second, first, 30) == frames


def test_agreement_by_hand():
    """Differences 2, -2, 6: bias 2, SD 4."""
    figures = agreement([102, 148, 206], [100, 150, 200])
    assert figures["n"] == 3
    assert figures["bias"] == pytest.approx(2)
    assert figures["limit_low"] == pytest.approx(2 - 1.96 * 4)
    assert figures["limit_high"] == pytest.approx(2 + 1.96 * 4)
    assert figures["mean_absolute"] == pytest.approx(10 / 3, abs=1e-4)
    assert figures["slope"] == pytest.approx(1.04)
    assert figures["correlation"] == pytest.approx(
        np.corrcoef([102, 148, 206], [100, 150, 200])[0, 1], abs=1e-4
    )
    assert math.isnan(agreement([1, 2], [5, 5])["slope"])


def test_statistics_by_hand():
    figures = statistics([-1.0, 2.0, 5.0])
    assert figures["n"] == 3
    assert figures["mean"] == figures["median"] == 2
    assert figures["sd"] == 3
    assert figures["mean_absolute"] == pytest.approx(8 / 3, abs=1e-4)
    assert (figures["lowest"], figures["highest"]) == (-1, 5)
    assert statistics([4.0])["sd"] == 0


def test_the_interval_of_a_mean_covers_it_and_narrows_with_more_patients():
    values = np.random.default_rng(3).normal(10, 2, 400)
    low, high = mean_interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    few_low, few_high = mean_interval(values[:25])
    assert few_high - few_low > 2 * (high - low)
