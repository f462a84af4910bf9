from dataclasses import replace

import numpy as np
import pytest

from pipeline.case import LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY, CineCase, Phases, Relevance
from pipeline.stages.segmentation import RefineKeyPhases, SegmentCine
from tests.unit.pipeline.cine_cases import OracleSegmenter, drawn_labels, label_stack


class RecordingSegmenter(OracleSegmenter):
    """Keeps what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, frames, slices, pixel_spacing_mm, centre_yx, *, careful=False):
        self.asked.append((frames, slices, pixel_spacing_mm, centre_yx, careful))
        return super().__call__(frames, slices, pixel_spacing_mm, centre_yx)


def case_of(labels, relevant):
    stack = label_stack(labels, pixel_spacing_mm=(1.2, 1.8))
    seen = Relevance(np.zeros(len(relevant)), relevant, (40.0, 50.0))
    return CineCase(stack, relevance=seen, phases=Phases(ed=0, es=1))


def test_every_phase_of_the_relevant_slices_is_labelled_and_nothing_else():
    labels = drawn_labels(phases=3, slices=6, es=1)
    relevant = (False, True, True, True, False, False)
    found = SegmentCine(OracleSegmenter())(case_of(labels, relevant)).segmentation.labels
    assert found.dtype == np.uint8
    assert np.array_equal(found[:, 1:4], labels[:, 1:4])
    assert not found[:, [0, 4, 5]].any()


def test_the_result_cannot_be_changed():
    labels = drawn_labels(phases=2, slices=4, es=1)
    found = SegmentCine(OracleSegmenter())(case_of(labels, (True,) * 4)).segmentation.labels
    with pytest.raises(ValueError, match="read-only"):
        found[0, 0, 0, 0] = 1


def test_the_result_is_cleaned():
    labels = drawn_labels(phases=2, slices=4, es=1)
    labels[1, 2, :4, 90:] = RV_CAVITY
    found = SegmentCine(OracleSegmenter())(case_of(labels, (True,) * 4)).segmentation.labels
    assert not found[1, 2, :4, 90:].any()


def test_the_network_gets_the_whole_stack_and_the_relevant_slices():
    """Slices that are not labelled may still tell the network where the others lie."""
    segmenter = RecordingSegmenter()
    case = case_of(drawn_labels(phases=2, slices=6, es=1), (False, True, True, True, True, False))
    SegmentCine(segmenter)(case)
    ((frames, slices, spacing, centre, careful),) = segmenter.asked
    assert np.shares_memory(frames, case.stack.frames)
    assert frames.shape == case.stack.frames.shape
    assert slices == [1, 2, 3, 4]
    assert (spacing, centre) == ((1.2, 1.8), (40.0, 50.0))
    assert not careful


def test_segmentation_needs_relevance():
    with pytest.raises(ValueError, match="after relevance"):
        SegmentCine(OracleSegmenter())(
            replace(case_of(drawn_labels(), (True,) * 12), relevance=None)
        )


class OnlyCavity(RecordingSegmenter):
    """Finds the cavity alone."""

    def __call__(self, *arguments, **careful):
        return np.where(super().__call__(*arguments, **careful) == LV_CAVITY, LV_CAVITY, 0)


def test_ed_and_es_alone_are_labelled_again_and_with_care():
    case = case_of(drawn_labels(phases=5, slices=4, es=1), (True,) * 4)
    case = SegmentCine(OracleSegmenter())(replace(case, phases=Phases(ed=3, es=1)))
    segmenter = OnlyCavity()
    found = RefineKeyPhases(segmenter)(case).segmentation.labels
    ((frames, slices, *_, careful),) = segmenter.asked
    assert np.array_equal(frames, case.stack.frames[[3, 1]])
    assert slices == [0, 1, 2, 3]
    assert careful
    before = case.segmentation.labels
    assert np.array_equal(found[[0, 2, 4]], before[[0, 2, 4]])
    assert np.array_equal(found[[1, 3]] == LV_CAVITY, before[[1, 3]] == LV_CAVITY)
    assert not (found[[1, 3]] == LV_MYOCARDIUM).any()
    assert (before[[1, 3]] == LV_MYOCARDIUM).any()
    assert not found.flags.writeable


@pytest.mark.parametrize("missing", ["segmentation", "phases"])
def test_refinement_needs_what_comes_before(missing):
    case = SegmentCine(OracleSegmenter())(case_of(drawn_labels(), (True,) * 12))
    with pytest.raises(ValueError, match="after segmentation and detection"):
        RefineKeyPhases(OracleSegmenter())(replace(case, **{missing: None}))


class WithIsland(OracleSegmenter):
    """Sees an island of RV where it is careful."""

    def __call__(self, *arguments, careful=False):
        found = super().__call__(*arguments)
        found[:, 1, :4, 90:] = RV_CAVITY if careful else found[:, 1, :4, 90:]
        return found


def test_what_was_seen_at_ed_and_es_before_is_kept_to_be_compared():
    case = case_of(drawn_labels(phases=5, slices=4, es=1), (True,) * 4)
    before = SegmentCine(WithIsland())(replace(case, phases=Phases(ed=3, es=1)))
    found = RefineKeyPhases(WithIsland())(before).segmentation
    assert np.array_equal(found.first_look, before.segmentation.labels[[3, 1]])
    assert (found.uncleaned[:, 1, :4, 90:] == RV_CAVITY).all()
    assert np.array_equal(found.labels, before.segmentation.labels)
