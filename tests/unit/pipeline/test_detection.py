from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.ed_es_detector import FrameReading
from pipeline.case import CineCase, Phases, Relevance
from pipeline.stages.detection import DetectPhases, cyclic_distance, extremes, smoothed
from pipeline.stages.segmentation import SegmentCine
from tests.unit.pipeline.cine_cases import OracleSegmenter, card, drawn_labels, label_stack


class Reader:
    """A detector that reads the same frames of every cine."""

    card = card("oracle_detector")

    def __init__(self, ed, es):
        self.readings = (ed, es)

    def __call__(self, frames, pixel_spacing_mm, centre_yx):
        self.asked = (frames.shape, pixel_spacing_mm, centre_yx)
        return self.readings


def detect(labels, min_phases=8, detector=None):
    relevant = (False, *[True] * (labels.shape[1] - 2), False)
    relevance = Relevance(np.zeros(labels.shape[1]), relevant, (48.0, 48.0))
    case = CineCase(label_stack(labels), relevance=relevance)
    return DetectPhases(min_phases, detector)(SegmentCine(OracleSegmenter())(case)).phases


@pytest.mark.parametrize("shift", [0, -1, 3, 7])
def test_ed_and_es_are_found_wherever_the_cycle_starts(shift):
    phases = detect(np.roll(drawn_labels(), shift, axis=0))
    assert (phases.ed, phases.es) == (shift % 12, (4 + shift) % 12)


def test_a_detector_is_asked_about_the_slices_that_show_the_ventricle():
    detector = Reader(FrameReading(3, sure=True), FrameReading(7, sure=False))
    phases = detect(drawn_labels(), detector=detector)
    assert phases == Phases(ed=3, es=7, unsure=("ES",))
    phases_shown, slices_shown, *_ = drawn_labels().shape
    assert detector.asked[0][:2] == (phases_shown, slices_shown - 2)
    assert detector.asked[2] == (48.0, 48.0)


def test_too_few_phases_for_a_detector_are_read_from_the_areas():
    detector = Reader(FrameReading(0, sure=True), FrameReading(0, sure=True))
    assert detect(drawn_labels()[[4, 0]], detector=detector) == Phases(ed=1, es=0)


def test_of_two_phases_the_larger_is_ed():
    phases = detect(drawn_labels()[[4, 0]])
    assert (phases.ed, phases.es) == (1, 0)


def test_one_bad_phase_does_not_become_ed():
    curve = np.array([100, 95, 80, 60, 52, 60, 75, 115, 80, 90, 96, 99.0])
    assert extremes(curve, 8).ed == 0
    assert extremes(curve, 20).ed == 7  # too few phases to smooth


@pytest.mark.parametrize("shift", range(0, 12, 3))
def test_ed_is_the_onset_of_contraction_and_es_the_middle_of_the_trough(shift):
    curve = np.array([99, 98, 97, 80, 60, 53, 50, 54, 70, 90, 99, 100.0])
    found = extremes(np.roll(curve, shift), 8)
    assert (found.ed, found.es) == ((1 + shift) % 12, (6 + shift) % 12)


@pytest.mark.parametrize(("before", "after"), [(53, 58), (58, 53)])
@pytest.mark.parametrize("shift", [0, 5, 6])
def test_of_a_trough_of_two_phases_es_is_the_lower(before, after, shift):
    curve = np.array([100, 99, 95, 80, 65, before, 50, after, 70, 90, 95, 98.0])
    assert extremes(np.roll(curve, shift), 8).es == (6 + shift) % 12


def test_a_curve_without_motion_has_its_phases_too():
    found = extremes(np.full(9, 70.0), 8)
    assert 0 <= found.ed < 9
    assert 0 <= found.es < 9


def test_the_plateau_before_ed_does_not_draw_it_away_from_its_peak():
    curve = np.array([100, 80, 60, 50, 70, 88, 90, 91.0])
    assert int(np.argmax(smoothed(curve))) == 7
    assert extremes(curve, 8).ed == 0


def test_the_ends_of_the_stack_do_not_decide():
    labels = drawn_labels()
    labels[8, 1] = 1  # a flooded basal slice
    assert detect(labels).ed == 0


@given(st.lists(st.floats(0, 500), min_size=3, max_size=40), st.integers(0, 40))
def test_smoothing_is_cyclic_and_keeps_the_mean(values, shift):
    curve = np.array(values)
    assert smoothed(curve).mean() == pytest.approx(curve.mean(), abs=1e-9)
    assert np.allclose(smoothed(np.roll(curve, shift)), np.roll(smoothed(curve), shift))


@pytest.mark.parametrize(
    ("first", "second", "distance"), [(19, 0, 1), (0, 19, 1), (3, 8, 5), (0, 10, 10), (4, 4, 0)]
)
def test_distance_goes_the_shorter_way_round(first, second, distance):
    assert cyclic_distance(first, second, 20) == distance


@pytest.mark.parametrize("missing", ["relevance", "segmentation"])
def test_detection_needs_what_comes_before(missing):
    relevance = Relevance(np.zeros(12), (True,) * 12, (48.0, 48.0))
    case = SegmentCine(OracleSegmenter())(
        CineCase(label_stack(drawn_labels()), relevance=relevance)
    )
    with pytest.raises(ValueError, match="after relevance and segmentation"):
        DetectPhases(8)(replace(case, **{missing: None}))
