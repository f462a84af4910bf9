from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.case import CineCase, Relevance
from pipeline.errors import NotYetCovered, Rejection
from pipeline.stages.relevance import (
    FindRelevantSlices,
    ends_covered,
    middle_slices,
    phases_to_localise,
    refuse_uncovered,
    relevant_run,
)
from tests.unit.pipeline.cine_cases import Localised, OracleLocaliser, drawn_labels, label_stack


class PresetLocaliser(OracleLocaliser):
    """Answers with given probabilities [phase, z] and a given centre."""

    def __init__(self, probability):
        self.probability = np.array(probability, dtype=np.float64)

    def __call__(self, images, pixel_spacing_mm):
        assert len(images) == self.probability.size
        return Localised(self.probability.ravel(), (31.0, 42.0))


def relevance_of(probability, threshold=0.5):
    probability = np.array(probability)
    stack = label_stack(np.zeros((*probability.shape, 8, 8), np.uint8))
    case = FindRelevantSlices(PresetLocaliser(probability), threshold)(CineCase(stack))
    return case.relevance


class BrightnessClassifier:
    """Probability and Grad-CAM are the intensity."""

    card = OracleLocaliser.card

    def __call__(self, images, pixel_spacing_mm):
        return images.max(axis=(1, 2)).astype(np.float64)

    def grad_cam(self, image, pixel_spacing_mm):
        return image / 2


def test_slices_are_explained_in_the_phase_that_speaks_most_for_the_lv():
    shows = np.array([[0.1, 0.9, 0.4, 0.1], [0.2, 0.6, 0.7, 0.1]])
    stack = label_stack(np.zeros((2, 4, 8, 8), np.uint8))
    frames = np.broadcast_to(shows[..., None, None], (2, 4, 8, 8)).astype(np.float32)
    stack = replace(stack, frames=frames)
    stage = FindRelevantSlices(PresetLocaliser(shows), 0.5, BrightnessClassifier())
    found = stage.explain(stack)
    highest = shows.max(axis=0)
    np.testing.assert_allclose(found.images[:, 0, 0], highest, rtol=1e-6)
    np.testing.assert_allclose(found.seen, found.images / 2)
    np.testing.assert_allclose(found.probability, highest, rtol=1e-6)
    relevance = stage(CineCase(stack)).relevance
    assert tuple(found.relevant) == relevance.relevant == (False, True, True, False)
    assert FindRelevantSlices(PresetLocaliser(shows), 0.5).explain(stack) is None


@pytest.mark.parametrize(
    ("probability", "expected"),
    [
        ([0.1, 0.9, 0.9, 0.1], [0, 1, 1, 0]),
        ([0.9, 0.9, 0.9], [1, 1, 1]),
        ([0.0, 0.5, 0.0], [0, 1, 0]),
        ([0.9, 0.9, 0.3, 0.9, 0.9], [1, 1, 1, 1, 1]),  # one weak slice does not cut it in two
        ([0.9, 0.0, 0.0, 0.8, 0.9, 0.9], [0, 0, 0, 1, 1, 1]),  # two runs never both stay
        ([0.4, 0.9, 0.9, 0.4, 0.1], [0, 1, 1, 0, 0]),  # weak slices at the ends do not belong
        ([0.1, 0.2, 0.3], [0, 0, 0]),
    ],
)
def test_the_run_with_the_highest_mass_stays(probability, expected):
    assert relevant_run(np.array(probability), 0.5).tolist() == [bool(one) for one in expected]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.05, 0.95))
def test_what_stays_is_one_run_between_slices_above_the_threshold(probability, threshold):
    relevant = relevant_run(np.array(probability), threshold)
    run = np.flatnonzero(relevant)
    assert relevant.any() == (max(probability) >= threshold)
    if run.size:
        assert run[-1] - run[0] + 1 == run.size
        assert probability[run[0]] >= threshold
        assert probability[run[-1]] >= threshold


def test_a_slice_that_shows_the_lv_around_ed_alone_belongs_to_it():
    probability = np.full((10, 5), 0.02)
    probability[:, 1:4] = 0.98
    probability[6, 0] = 0.9
    found = relevance_of(probability)
    assert found.relevant == (True, True, True, True, False)
    assert found.probability.tolist() == [0.9, 0.98, 0.98, 0.98, 0.02]


def test_of_two_phases_one_is_enough():
    probability = np.array([[0.02, 0.98, 0.98, 0.02], [0.98, 0.98, 0.98, 0.02]])
    assert relevance_of(probability).relevant == (True, True, True, False)


def test_the_localiser_sees_phases_from_the_whole_cycle():
    assert phases_to_localise(20) == list(range(0, 20, 2))
    assert phases_to_localise(25)[-1] == 22
    assert phases_to_localise(2) == [0, 1]


def test_the_oracle_finds_every_slice_of_the_drawn_heart_and_its_centre():
    stage = FindRelevantSlices(OracleLocaliser(), 0.5)
    found = stage(CineCase(label_stack(drawn_labels()))).relevance
    assert found.relevant == (False, *[True] * 10, False)
    assert found.centre_yx == pytest.approx((47.5, 47.5))
    assert stage.models[0].name == "oracle_localiser"


def test_a_stack_without_lv_is_rejected():
    with pytest.raises(Rejection, match="none of the 4 slices") as caught:
        relevance_of(np.full((10, 4), 0.2))
    assert caught.value.code == "no_left_ventricle"


@pytest.mark.parametrize(
    ("relevant", "covered"),
    [
        ((False, True, True, False), (True, True)),
        ((True, True, True, False), (False, True)),
        ((False, True, True, True), (True, False)),
        ((True, True, True, True), (False, False)),
    ],
)
def test_an_early_start_waits_for_slices_beyond_both_ends(relevant, covered):
    relevance = Relevance(np.zeros(4), relevant, (0.0, 0.0))
    case = replace(CineCase(label_stack(drawn_labels(slices=4))), relevance=relevance)
    assert ends_covered(relevance) == covered
    if all(covered):
        refuse_uncovered(case)
    else:
        with pytest.raises(NotYetCovered):
            refuse_uncovered(case)


@pytest.mark.parametrize(
    ("n_relevant", "expected"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (6, [2, 3, 4]), (9, [4, 5, 6]), (13, [5, 6, 7, 8])],
)
def test_the_middle_third_of_the_ventricle(n_relevant, expected):
    relevant = (False, *[True] * n_relevant, False)
    assert middle_slices(Relevance(np.zeros(len(relevant)), relevant, (0, 0))) == expected
