"""LV volumes by regression: the stage, the numbers that follow from it, and what is doubted."""

from dataclasses import replace

import numpy as np
import pytest

from config.schema import CineSettings, Settings, WorkerSettings
from models.registry import WeightsError
from models.synthetic.cine import synthesise_cine
from models.training.recipes import RECIPES
from pipeline.analysis import settings_digest
from pipeline.case import LV_CAVITY, CineCase, Phases, Regression, Relevance, Verdict
from pipeline.cine import build_cine_pipeline
from pipeline.stages.curve import PEAK_RATES
from pipeline.stages.quality import CheckQuality
from pipeline.stages.regression import RegressVolumes
from tests.unit.dicom_node.test_measure import write_untrained
from tests.unit.pipeline.cine_cases import (
    PERFECT,
    OracleRegressor,
    OracleSegmenter,
    drawn_case,
    drawn_labels,
    finding,
    label_stack,
    labels_in,
    oracle_pipeline,
    value,
)

FROM_REGRESSION = {
    *("lv_edv", "lv_esv", "lv_edv_index", "lv_esv_index", "lv_sv", "lv_ef", "lv_sv_index"),
    *("cardiac_output", "cardiac_output_index"),
}


class Recording(OracleRegressor):
    def __call__(self, images, pixel_spacing_mm, centre_yx):
        self.asked = (images, pixel_spacing_mm, centre_yx)
        return super().__call__(images, pixel_spacing_mm, centre_yx)


def located(stack, relevant):
    relevance = Relevance(np.zeros(len(relevant)), relevant, (40.0, 50.0))
    return CineCase(stack, relevance=relevance, phases=Phases(0, 2))


def test_areas_count_by_the_length_that_each_slice_stands_for():
    labels = drawn_labels(phases=4, slices=5)
    extent = np.array([10.0, 10.0, 15.0, 20.0, 10.0])
    stack = label_stack(labels, pixel_spacing_mm=(1.5, 1.2), slice_extent_mm=extent)
    regressor = Recording()
    found = RegressVolumes(regressor)(located(stack, (False, True, True, True, False))).regression
    pixels = (labels == LV_CAVITY).sum(axis=(2, 3))
    for phase, volume_ml in ((0, found.edv_ml), (2, found.esv_ml)):
        assert volume_ml == pytest.approx(pixels[phase, 1:4] @ extent[1:4] * 1.5 * 1.2 / 1000)
    np.testing.assert_array_equal(regressor.asked[0], stack.frames[2, 1:4])
    assert regressor.asked[1:] == ((1.5, 1.2), (40.0, 50.0))


def test_explanations_lie_on_their_slices_of_the_whole_stack():
    stack = label_stack(drawn_labels(phases=4, slices=5))
    found = RegressVolumes(OracleRegressor())(located(stack, (False, False, True, True, True)))
    for phase, mask in ((0, found.regression.explanation_ed), (2, found.regression.explanation_es)):
        expected = labels_in(stack.frames[phase]) == LV_CAVITY
        assert expected[1].any()
        expected[:2] = False
        np.testing.assert_array_equal(mask, expected)


def test_regression_needs_relevance_and_phases():
    with pytest.raises(ValueError, match="after relevance and detection"):
        RegressVolumes(OracleRegressor())(CineCase(label_stack(drawn_labels())))


def test_lv_volumes_come_from_the_regression_and_nothing_else_does():
    plain, regressed = drawn_case(), drawn_case(OracleRegressor(1.1))
    assert value(regressed, "lv_edv") == pytest.approx(1.1 * value(plain, "lv_edv"))
    assert value(regressed, "lv_esv") == pytest.approx(1.1 * value(plain, "lv_esv"))
    assert value(regressed, "cardiac_output") == pytest.approx(1.1 * value(plain, "cardiac_output"))
    changed = {
        one.name
        for one, other in zip(plain.biomarkers, regressed.biomarkers, strict=True)
        if one.value != pytest.approx(other.value)
    }
    assert changed == FROM_REGRESSION - {"lv_ef"}  # a ratio
    np.testing.assert_array_equal(regressed.volume_curve_ml["lv"], plain.volume_curve_ml["lv"])


def test_the_regressor_stands_in_the_provenance_after_the_segmenter():
    case = drawn_case(OracleRegressor())
    stages = [record.stage for record in case.provenance]
    assert stages == [
        *("relevance", "segmentation", "detection", "refinement"),
        *("regression", "biomarkers", "wall", "quality"),
    ]
    assert [model.name for model in case.provenance[4].models] == ["oracle_regressor"]
    assert "oracle_regressor" in {
        model.name for model in oracle_pipeline(regressor=OracleRegressor()).models
    }


def test_methods_that_agree_ask_for_nothing():
    found = finding(drawn_case(OracleRegressor(1.1)), "lv_volume_agreement")
    assert found.verdict == Verdict.OK
    assert found.value == pytest.approx(0.1 * value(drawn_case(), "lv_edv"))
    assert "lv_volume_agreement" not in {one.check for one in drawn_case().quality}


def rechecked(**changes: object):
    case = drawn_case(OracleRegressor())
    regression = replace(case.regression, **changes)
    check = CheckQuality(8, OracleSegmenter.card, OracleRegressor.card)
    return check(replace(case, regression=regression, quality=()))


def test_methods_that_differ_ask_for_review_of_what_they_differ_in():
    segmented = value(drawn_case(), "lv_esv")
    found = finding(rechecked(esv_ml=segmented + 40), "lv_volume_agreement")
    assert found.verdict == Verdict.REVIEW
    assert found.value == pytest.approx(40)
    assert found.reason == (
        f"the ES volume is {segmented + 40:.0f} ml by regression and {segmented:.0f} ml by "
        "segmentation"
    )
    assert set(found.concerns) == {*FROM_REGRESSION, *PEAK_RATES} - {"lv_edv", "lv_edv_index"}
    near = finding(rechecked(esv_ml=segmented + 19), "lv_volume_agreement")
    assert near.verdict == Verdict.OK


def test_of_large_volumes_a_larger_difference_is_allowed():
    case = drawn_case(pixel_spacing_mm=(2.5, 2.5))
    edv, esv = value(case, "lv_edv"), value(case, "lv_esv")
    assert edv > 250
    nothing = np.ones(case.stack.frames.shape[1:], bool)
    check = CheckQuality(8, OracleSegmenter.card, OracleRegressor.card)
    for share, verdict in ((1.2, Verdict.OK), (1.3, Verdict.REVIEW)):
        regression = Regression(share * edv, esv, nothing, nothing)
        found = finding(check(replace(case, regression=regression)), "lv_volume_agreement")
        assert found.verdict == verdict


def test_a_volume_that_nothing_explains_asks_for_review():
    empty = np.zeros(drawn_labels().shape[1:], bool)
    found = finding(rechecked(explanation_ed=empty), "lv_volume_agreement")
    assert (found.verdict, found.reason) == (
        Verdict.REVIEW,
        "nothing in the images explains the ED volume",
    )
    assert set(found.concerns) == {*FROM_REGRESSION, *PEAK_RATES} - {"lv_esv", "lv_esv_index"}


def test_an_lv_that_regression_sees_stand_still_asks_for_review():
    case = drawn_case(OracleRegressor())
    found = finding(rechecked(esv_ml=case.regression.edv_ml * 0.98), "curve_range")
    assert found.verdict == Verdict.REVIEW


def judged(regressor_errors, segmenter_errors):
    cards = (
        replace(one.card, metrics={"test_drawn": PERFECT["test_drawn"] | errors})
        for one, errors in (
            (OracleSegmenter, segmenter_errors),
            (OracleRegressor, regressor_errors),
        )
    )
    return CheckQuality(8, *cards)(replace(drawn_case(OracleRegressor()), quality=()))


def test_known_errors_are_those_of_the_network_that_a_number_comes_from():
    biased = {"lv_edv_error_ml_mean": 15.0, "lv_mass_error_g_mean": 15.0}
    by_regressor, by_segmenter = judged(biased, {}), judged({}, biased)
    assert set(finding(by_regressor, "lv_known_error").concerns) == FROM_REGRESSION - {
        *("lv_esv", "lv_esv_index", "lv_ef")
    }
    assert finding(by_regressor, "lv_mass_known_error").verdict == Verdict.OK
    assert finding(by_segmenter, "lv_known_error").verdict == Verdict.OK
    assert finding(by_segmenter, "lv_mass_known_error").concerns == ("lv_mass", "lv_mass_index")
    assert "mass" not in finding(by_regressor, "lv_known_error").reason


def test_a_regressor_of_unknown_errors_asks_for_review_of_its_own_numbers():
    unknown = replace(OracleRegressor.card, metrics={})
    check = CheckQuality(8, OracleSegmenter.card, unknown)
    case = check(replace(drawn_case(OracleRegressor()), quality=()))
    assert set(finding(case, "lv_known_error").concerns) == FROM_REGRESSION
    assert "oracle_regressor" in finding(case, "lv_known_error").reason
    assert finding(case, "lv_mass_known_error").verdict == Verdict.OK


def test_the_configuration_selects_the_method_by_name(tmp_path):
    """A network of random weights in a folder of one's own, in a chain of shipped ones."""
    write_untrained(tmp_path, RECIPES["cine_volume_regression"])
    settings = CineSettings(volume_method="regression", regressor="tiny")
    needed = ("tiny", "volume_regression")
    assert settings.networks[-1] == needed
    assert needed not in CineSettings(regressor="tiny").networks
    cine = synthesise_cine(3, phases=2, slices=8)
    stack = replace(
        label_stack(
            cine.labels,
            pixel_spacing_mm=cine.pixel_spacing_mm,
            slice_spacing_mm=cine.slice_spacing_mm,
        ),
        frames=cine.frames,
    )
    case = build_cine_pipeline(settings, WorkerSettings(weights_folder=tmp_path)).run(stack)
    assert value(case, "lv_edv") == case.regression.edv_ml > 0
    assert [
        record.models[0].name for record in case.provenance if record.stage == "regression"
    ] == ["tiny"]


def test_a_regressor_without_weights_is_refused_by_name():
    settings = CineSettings(volume_method="regression", regressor="nowhere")
    with pytest.raises(WeightsError, match="no model 'nowhere'"):
        build_cine_pipeline(settings, WorkerSettings())


def test_the_method_decides_the_result_and_a_regressor_only_where_it_takes_part():
    def digest(**cine: str) -> str:
        return settings_digest(Settings(pipelines={"cine": cine}))

    assert digest() == digest(regressor="other")
    regressed = digest(volume_method="regression")
    assert digest() != regressed != digest(volume_method="regression", regressor="other")
