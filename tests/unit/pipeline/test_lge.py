"""The late enhancement chain around its networks: scar, its numbers, and what takes them back."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.case import LV_CAVITY, LV_MYOCARDIUM, NO_REFLOW, SCAR, Verdict
from pipeline.companion import companion_of
from pipeline.errors import NotYetCovered, Rejection
from pipeline.findings import SeriesFindings
from pipeline.lge_case import LeftOut, LgeCase
from pipeline.results import write_results
from pipeline.stages.coverage import UNKNOWN_ENDS
from pipeline.stages.scar_biomarkers import OUTLINED
from pipeline.stages.transmurality import TRANSMURALITY
from pipeline.stated import completed_findings
from tests.unit.pipeline.cine_cases import (
    drawn_labels,
    finding,
    label_stack,
    oracle_pipeline,
    value,
    withheld,
)
from tests.unit.pipeline.lge_cases import (
    CAVITY,
    INFARCT,
    MYOCARDIUM,
    OracleClassifier,
    drawn_truth,
    lge_case,
    lge_pipeline,
    lge_stack,
)
from tests.unit.pipeline.lge_cases import NO_REFLOW as NO_REFLOW_CLASS
from tests.unit.pipeline.result_cases import CONTEXT, STUDY

GRAM = 1.5 * 1.5 * 8 / 1000 * 1.055
METHODS = ("network", "2sd", "5sd", "fwhm")


@pytest.fixture(scope="module")
def case() -> LgeCase:
    return lge_case()


def test_masses_are_those_of_the_drawn_heart(case):
    truth = drawn_truth()
    wall = np.isin(truth, (MYOCARDIUM, INFARCT, NO_REFLOW_CLASS)).sum()
    scar = np.isin(truth, (INFARCT, NO_REFLOW_CLASS)).sum()
    assert value(case, "lge_lv_mass") == pytest.approx(wall * GRAM)
    assert value(case, "scar_mass_network") == pytest.approx(scar * GRAM)
    assert value(case, "scar_percent_network") == pytest.approx(100 * scar / wall)
    assert value(case, "no_reflow_mass") == pytest.approx((truth == NO_REFLOW_CLASS).sum() * GRAM)
    for method in ("2sd", "5sd", "fwhm"):
        assert value(case, f"scar_mass_{method}") == pytest.approx(scar * GRAM, rel=0.15)


def test_uneven_slices_count_by_what_they_stand_for():
    extent = np.linspace(6, 12, 12)
    truth = drawn_truth()
    measured = value(lge_case(slice_extent_mm=extent), "scar_mass_network")
    per_slice = np.isin(truth, (INFARCT, NO_REFLOW_CLASS)).sum((1, 2))
    assert measured == pytest.approx(per_slice @ extent * 1.5 * 1.5 / 1000 * 1.055)


def test_labels_are_those_of_the_network_and_outlines_know_the_wall_alone(case):
    truth = drawn_truth()
    labels = case.segmentation.labels[0]
    for number, code in ((1, LV_CAVITY), (2, LV_MYOCARDIUM), (3, SCAR), (4, NO_REFLOW)):
        np.testing.assert_array_equal(labels == code, truth == number)
    np.testing.assert_array_equal(case.outlines[0] == LV_MYOCARDIUM, truth >= MYOCARDIUM)


def test_scar_outside_the_wall_is_not_kept():
    truth = drawn_truth(scar=False)
    stray = truth.copy()
    stray[5, 2:6, 2:6] = INFARCT
    found = lge_pipeline(stray).run(lge_stack(truth))
    assert value(found, "scar_mass_network") == 0


def test_a_heart_without_scar_has_none(case):
    healthy = lge_case(drawn_truth(scar=False))
    for method in METHODS:
        assert value(healthy, f"scar_mass_{method}") == 0
        assert value(healthy, f"scar_percent_{method}") == 0
    assert value(healthy, "infarct_probability") < 0.1 < 0.9 < value(case, "infarct_probability")


def test_without_calibration_the_probability_is_withheld():
    truth = drawn_truth()
    pipeline = lge_pipeline(truth)
    bare = replace(pipeline.stages[1]._segmenter.card, calibration={})
    pipeline.stages[3]._card = bare
    assert "not calibrated" in withheld(pipeline.run(lge_stack(truth)), "infarct_probability")


def test_without_wall_everything_is_withheld():
    truth = np.where(drawn_truth() == CAVITY, CAVITY, 0).astype(np.uint8)
    found = lge_case(truth)
    assert {withheld(found, name) for name in OUTLINED} == {"no LV myocardium was found"}
    assert finding(found, "left_ventricle").verdict is Verdict.WITHHELD


def test_without_remote_myocardium_thresholds_give_no_number(case):
    even = np.full(case.stack.frames.shape, 100, np.float32)
    found = lge_case(frames=even)
    assert value(found, "scar_mass_network") > 0
    assert withheld(found, "scar_mass_5sd")
    assert finding(found, "remote_myocardium").verdict is Verdict.REVIEW


def marked(rows: int) -> LgeCase:
    """A heart without scar, of whose wall the network marks some rows of six slices."""
    truth = drawn_truth(scar=False)
    wrong = truth.copy()
    wrong[3:9, 40 : 40 + rows][truth[3:9, 40 : 40 + rows] == MYOCARDIUM] = INFARCT
    return lge_pipeline(wrong).run(lge_stack(truth))


def test_spots_alone_are_no_scar():
    found = marked(rows=1)
    assert value(found, "scar_mass_network") == 0
    assert not np.isin(found.segmentation.labels, (SCAR, NO_REFLOW)).any()
    np.testing.assert_array_equal(found.segmentation.labels, marked(rows=0).segmentation.labels)
    assert "2% of the wall" in found.scars["network"].how
    assert finding(found, "scar_agreement").verdict is Verdict.OK


def test_scar_that_no_other_method_finds_asks_for_review():
    found = marked(rows=4)
    assert 2 < value(found, "scar_percent_network") < 10
    assert value(found, "scar_percent_5sd") == value(found, "scar_percent_fwhm") == 0
    assert finding(found, "scar_agreement").verdict is Verdict.REVIEW


def test_methods_that_disagree_ask_for_review():
    truth = drawn_truth()
    wall = truth == MYOCARDIUM
    wall[:, :40] = False
    wrong = np.where(wall, INFARCT, truth).astype(np.uint8)
    found = lge_pipeline(wrong).run(lge_stack(truth))
    review = finding(found, "scar_agreement")
    assert review.verdict is Verdict.REVIEW
    assert "scar_mass_network" in review.concerns


def test_a_known_error_of_the_network_asks_for_review(case):
    assert finding(case, "scar_known_error").verdict is Verdict.OK
    truth = drawn_truth()
    biased = lge_pipeline(truth, error=-7.0).run(lge_stack(truth))
    review = finding(biased, "scar_known_error")
    assert review.verdict is Verdict.REVIEW
    assert "7.0 % of the LV mass too little scar" in review.reason
    assert "scar_mass_network" in review.concerns


def test_a_stack_inside_the_ventricle_is_noted(case):
    truth = drawn_truth()[6:]
    found = lge_case(truth)
    assert finding(found, "coverage_base").verdict is not Verdict.OK
    assert finding(case, "coverage_base").verdict is Verdict.OK
    with pytest.raises(NotYetCovered):
        lge_pipeline(truth).run(lge_stack(truth), require_coverage=True)


def test_the_classifier_decides_which_slices_count():
    truth = drawn_truth()
    probability = np.array([0.1, 0.1, 0.1, *[0.9] * 7, 0.2, 0.1])
    pipeline = lge_pipeline(truth, OracleClassifier(probability))
    found = pipeline.run(lge_stack(truth))
    assert found.relevance.relevant == tuple(probability > 0.5)
    assert not found.segmentation.labels[0, 2].any()
    assert [model.name for model in pipeline.models] == [
        "oracle_localiser",
        "oracle_classifier",
        "oracle_scar",
    ]
    with pytest.raises(Rejection, match="no_left_ventricle"):
        lge_pipeline(truth, OracleClassifier(np.full(12, 0.1))).run(lge_stack(truth))


def cine_findings(labels: np.ndarray | None = None, **changes: object) -> SeriesFindings:
    """Findings of a cine in the planes of the drawn stack; the RV lies on the left of the LV."""
    stack = lge_stack(drawn_truth())
    labels = drawn_labels(phases=10) if labels is None else labels
    cine = replace(
        label_stack(labels, slice_spacing_mm=8.0, headers=stack.headers),
        positions_mm=stack.positions_mm,
        row_cosines=stack.row_cosines,
        column_cosines=stack.column_cosines,
        sources=(stack.sources[0],) * 10,
        digests=stack.digests,
    )
    measured = oracle_pipeline().run(cine)
    objects = write_results(measured, CONTEXT)
    found = completed_findings(measured, objects, pipeline="cine", numeric_backend="test")
    again = SeriesFindings.model_validate_json(found.model_dump_json())
    return again.model_copy(update=changes)


@pytest.fixture(scope="module")
def cine() -> SeriesFindings:
    return cine_findings()


def test_segments_are_numbered_by_the_septum_of_the_cine(cine):
    joined = lge_case(companion=companion_of([cine]))
    shares = {name: value(joined, name) for name in TRANSMURALITY}
    # The scar is transmural and lies opposite to the septum: in the lateral segments.
    lateral = [shares[f"transmurality_{n}"] for n in (5, 6, 11, 12, 16)]
    septal = [shares[f"transmurality_{n}"] for n in (2, 3, 8, 9, 14)]
    assert min(lateral) > 25
    assert max(septal) == 0
    assert shares["transmurality_17"] is None
    assert "apex" in withheld(joined, "transmurality_17")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (None, "no cine of the same study"),
        ({"septum": None}, "does not show them"),
        ({"status": "rejected"}, "no cine of the same study"),
    ],
)
def test_without_septum_segments_are_withheld(cine, change, words):
    study = [] if change is None else [cine.model_copy(update=change)]
    found = lge_case(companion=companion_of(study))
    assert words in withheld(found, "transmurality_1")


@pytest.mark.parametrize(
    ("share", "verdict"), [(1.0, Verdict.OK), (0.8, Verdict.REVIEW), (None, None)]
)
def test_another_body_than_that_of_the_cine_is_to_be_reviewed(cine, share, verdict):
    """The page would state the weight of one series beside values indexed by that of the other."""
    companion = companion_of([cine])
    bodies = tuple(
        replace(one, value=share and share * one.value, withheld=None if share else "unknown")
        for one in companion.biomarkers
        if one.name == "bsa"
    )
    rest = tuple(one for one in companion.biomarkers if one.name != "bsa")
    found = lge_case(companion=replace(companion, biomarkers=(*rest, *bodies)))
    told = {one.check: one for one in found.quality}.get("body_agreement")
    assert (told and told.verdict) == verdict
    if verdict is Verdict.REVIEW:
        assert {"bsa", "lv_edv_index"} <= set(told.concerns)


def test_a_cine_that_does_not_taper_gives_no_septum(cine):
    labels = drawn_labels(phases=10)
    labels[:] = labels[:, 6:7]
    assert cine.septum
    assert cine_findings(labels).septum is None


def test_segments_of_a_wall_that_does_not_taper_are_withheld(cine):
    """Turned over, they would be wrong numbers without a word."""
    truth = drawn_truth()
    truth[:] = truth[6]
    found = lge_case(truth, companion=companion_of([cine]))
    assert {withheld(found, name) for name in TRANSMURALITY[:16]} == {UNKNOWN_ENDS}


def test_a_septum_in_another_frame_of_reference_is_not_used(cine):
    septum = cine.septum.model_copy(update={"frame_of_reference_uid": "1.9"})
    found = lge_case(companion=companion_of([cine.model_copy(update={"septum": septum})]))
    assert "another frame of reference" in withheld(found, "transmurality_1")


def test_findings_say_what_was_joined_and_left_out(cine, case):
    left_out = (LeftOut("1.9.1", "1.9", None, "a later image of it counts"),)
    joined = lge_case(companion=companion_of([cine]), left_out=left_out)
    objects = write_results(joined, CONTEXT)
    stated = completed_findings(joined, objects, pipeline="lge", numeric_backend="test")
    assert stated.joined_series_instance_uids == cine.series_instance_uids
    assert stated.joined_report_uid == cine.objects[-1].sop_instance_uid
    assert stated.phases is None
    assert [one.reason for one in stated.images_left_out] == ["a later image of it counts"]
    assert stated.series_instance_uids == tuple(sorted(("1.9", *joined.stack.series_instance_uids)))
    assert stated.inversion_times_ms == (300.0,) * 12
    assert [one.relevant for one in stated.slices] == list(case.relevance.relevant)
    assert {one.role for one in stated.objects} == {"seg_lge", "sr"}
    assert stated.study_instance_uid == STUDY
