"""The node's late enhancement chain on plain arrays, with networks that know the truth."""

import math

import numpy as np
import pytest

from dicom_node.measure_lge import LgeChain
from models.training.measure import scar_percent
from tests.unit.pipeline.lge_cases import (
    CALIBRATION,
    OracleClassifier,
    OracleLocaliser,
    OracleScarSegmenter,
    drawn_truth,
    painted,
)

SPACING = (1.5, 1.5), 8.0


def scar_of(truth, images, classifier=None):
    segmenter = OracleScarSegmenter(truth, CALIBRATION)
    return LgeChain(OracleLocaliser(truth), segmenter, classifier).scar(images, *SPACING)


def test_truth_goes_through_the_chain_in_the_codes_of_the_set():
    truth = drawn_truth()
    labels, probability = scar_of(truth, painted(truth))
    assert set(np.unique(labels)) == {0, 1, 2, 3, 4}
    for code in (1, 2, 3, 4):
        assert (labels == code).sum() == pytest.approx((truth == code).sum(), rel=0.02)
    log_odds = CALIBRATION["infarct_intercept"] + CALIBRATION["infarct_slope"] * scar_percent(
        labels
    )
    assert probability == pytest.approx(1 / (1 + math.exp(-log_odds)), rel=1e-3)


def test_slices_are_those_of_the_classifier():
    truth = drawn_truth()
    only = OracleClassifier(np.isin(np.arange(len(truth)), [4, 5, 6]).astype(np.float64))
    labels, _ = scar_of(truth, painted(truth), only)
    assert np.flatnonzero(labels.any(axis=(1, 2))).tolist() == [4, 5, 6]


def test_a_stack_without_heart_is_empty_and_of_unknown_probability():
    truth = drawn_truth()
    nowhere = OracleClassifier(np.zeros(len(truth)))
    labels, probability = scar_of(truth, painted(truth), nowhere)
    assert not labels.any()
    assert math.isnan(probability)
