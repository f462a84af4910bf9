"""The disease group of a cine: what it is told from, when it is withheld, where it stands."""

import math
from dataclasses import replace

import numpy as np
import pytest

from config.schema import CineSettings, Settings
from models.picture_classifier import Reading
from pipeline.analysis import settings_digest
from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    RV_CAVITY,
    QualityFinding,
    Segmentation,
    Verdict,
)
from pipeline.cine import CinePipeline, build_cine_pipeline, cine_stages
from pipeline.classification import Classification
from pipeline.disease import NoViewError, disease_features, heart_view
from pipeline.results import write_results
from pipeline.results.common import DISCLAIMER
from pipeline.stages.disease import RESTS_ON, SUBJECT, ClassifyDisease
from pipeline.stated import completed_findings
from tests.unit.pipeline.cine_cases import (
    OracleLocaliser,
    OracleSegmenter,
    card,
    drawn_case,
    drawn_labels,
    label_stack,
)
from tests.unit.pipeline.picture_cases import write_network
from tests.unit.pipeline.result_cases import CONTEXT, conformance_errors, make_case
from tests.unit.pipeline.test_classification import items

CLASSES = ("normal", "infarction")


class Oracle:
    """Says what it is told to, and keeps what it was shown."""

    card = card("oracle_disease")
    classes = CLASSES

    def __init__(self, probability: float = 0.9, familiarity: float = 1.0) -> None:
        self.reading = Reading((1 - probability, probability), familiarity, 0.0)
        self.shown = []

    def read(self, heart):
        self.shown.append(heart)
        return self.reading


@pytest.fixture(scope="module")
def measured():
    """A drawn heart that every check finds good."""
    case = drawn_case()
    calm = tuple(replace(one, verdict=Verdict.OK) for one in case.quality)
    return replace(case, quality=calm)


def told(case, oracle=None, **settings):
    return ClassifyDisease(oracle or Oracle(), **{"min_confidence": 0.6} | settings)(case)


def changed(case, **at):
    """The case with other labels at ED (`ed`) or ES (`es`): functions of label maps [z, y, x]."""
    labels = case.segmentation.labels.copy()
    for phase, change in at.items():
        index = getattr(case.phases, phase)
        labels[index] = change(labels[index])
    return replace(case, segmentation=Segmentation(labels))


def test_features_are_those_of_the_drawn_heart(measured):
    """Radii in pixels of 1.5 mm: LV 16 and 11, with the wall 22 at ED; RV 16 and 12."""
    found = disease_features(measured)
    ed, es = measured.outlines
    volume = {
        (name, code): float((labels == code).sum()) * 1.5 * 1.5 * 10 / 1000
        for name, labels in (("ed", ed), ("es", es))
        for code in (LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY)
    }
    assert found["log_lv_edv"] == pytest.approx(math.log(volume["ed", LV_CAVITY]))
    assert found["log_lv_mass"] == pytest.approx(math.log(1.055 * volume["ed", LV_MYOCARDIUM]))
    assert found["lv_ef"] == pytest.approx(100 * (1 - (11 / 16) ** 2), abs=1.5)
    assert found["log_rv_lv_es"] == pytest.approx(
        math.log(volume["es", RV_CAVITY] / volume["es", LV_CAVITY])
    )
    assert found["log_mass_volume_ed"] == pytest.approx(
        math.log(volume["ed", LV_MYOCARDIUM] / volume["ed", LV_CAVITY])
    )
    assert 7 < found["wall_ed_mean"] < found["wall_ed_high"] < 10
    assert found["thickening_mean"] > 2
    assert found["thickening_mean"] == pytest.approx(
        found["wall_es_mean"] - found["wall_ed_mean"], abs=1e-9
    )
    assert found["still_share"] < 0.1


def test_a_wall_that_does_not_move_on_one_side_shows_in_the_spread(measured):
    def still(labels):
        """The right half of the heart as it is at ED."""
        half = labels.shape[2] // 2
        ed = measured.outlines[0]
        return np.concatenate([labels[:, :, :half], ed[:, :, half:]], axis=2)

    before, after = (disease_features(one) for one in (measured, changed(measured, es=still)))
    assert after["still_share"] > before["still_share"] + 0.4
    assert after["thickening_sd"] > 1.3 * before["thickening_sd"]
    assert after["thickening_low"] < before["thickening_low"] - 1


def test_a_larger_rv_shows_in_its_ratio_alone(measured):
    def small(labels):
        return np.where((labels == RV_CAVITY) & (np.arange(labels.shape[2]) % 2 == 0), 0, labels)

    before, after = (
        disease_features(one) for one in (measured, changed(measured, ed=small, es=small))
    )
    assert after["log_rv_lv_ed"] == pytest.approx(before["log_rv_lv_ed"] - math.log(2), abs=0.1)
    differing = {name for name in before if before[name] != pytest.approx(after[name], abs=0.05)}
    assert differing == {"log_rv_edv", "log_rv_lv_ed", "log_rv_lv_es"} | (differing & {"rv_ef"})


def test_the_view_is_cut_around_both_ventricles_in_slices_that_show_the_lv(measured):
    view = heart_view(measured)
    shown = [
        z for z in range(len(measured.outlines[0]))
        if all((one[z] == LV_CAVITY).any() for one in measured.outlines)
    ]  # fmt: skip
    assert view.images.shape[:2] == (2, len(shown))
    heart = np.argwhere((measured.outlines[0] > 0).any(axis=0))
    middle = (heart.min(axis=0) + heart.max(axis=0)) / 2
    np.testing.assert_allclose(view.centre_yx, middle)  # the images are smaller than the cut
    assert view.images.min() == 0
    assert view.images.max() == 255
    assert view.features == disease_features(measured)


def test_images_of_a_wide_field_lose_what_is_far_away():
    labels = np.pad(drawn_labels(), ((0, 0), (0, 0), (150, 20), (40, 120)))
    stages = cine_stages(CineSettings(), OracleLocaliser(), OracleSegmenter())
    case = CinePipeline(stages, "cpu", "oracle").run(label_stack(labels))
    view = heart_view(case)
    rows, columns = view.images.shape[2:]
    assert max(rows, columns) <= 2 * 110 / 1.5 + 3
    ed, _ = case.outlines
    heart = np.argwhere((ed > 0).any(axis=0))
    top, left = np.round((heart.min(axis=0) + heart.max(axis=0)) / 2 - view.centre_yx).astype(int)
    assert top > 0
    shown = [z for z in range(len(ed)) if (ed[z] == LV_CAVITY).any()]
    whole = case.stack.frames[case.phases.ed][shown, top : top + rows, left : left + columns]
    assert np.corrcoef(view.images[0].ravel(), whole.ravel())[0, 1] > 0.99


@pytest.mark.parametrize(
    ("phase", "code"), [("ed", RV_CAVITY), ("es", LV_CAVITY), ("es", RV_CAVITY)]
)
def test_without_a_ventricle_there_is_nothing_to_tell_from(measured, phase, code):
    less = changed(measured, **{phase: lambda labels: np.where(labels == code, 0, labels)})
    with pytest.raises(NoViewError, match="not found"):
        disease_features(less)
    found = told(less).classification
    assert "not found" in found.withheld
    assert not found.probabilities


def test_an_open_wall_everywhere_is_nothing_to_tell_from(measured):
    def opened(labels):
        right = np.arange(labels.shape[2]) > labels.shape[2] // 2
        return np.where((labels == LV_MYOCARDIUM) & right, 0, labels)

    with pytest.raises(NoViewError, match="closed wall"):
        disease_features(changed(measured, es=opened))


def test_a_good_case_is_told_and_its_numbers_stay(measured):
    oracle = Oracle()
    case = told(measured, oracle)
    found = case.classification
    assert (found.subject, found.found, found.confidence) == (SUBJECT, "infarction", 0.9)
    assert found.training.startswith("Disease group: Research model oracle_disease 0")
    assert "Not validated" in found.training
    assert len(oracle.shown) == 1
    assert case.biomarkers == measured.biomarkers
    assert case.quality == measured.quality


@pytest.mark.parametrize("name", RESTS_ON)
def test_what_is_withheld_or_to_be_reviewed_carries_no_group(measured, name):
    oracle = Oracle()
    doubt = QualityFinding("a_check", Verdict.REVIEW, "it looks odd", concerns=(name,))
    reviewed = told(replace(measured, quality=(*measured.quality, doubt)), oracle).classification
    assert reviewed.withheld == (
        f"{name}, which the disease group rests on, is to be reviewed: it looks odd"
    )
    gone = tuple(
        replace(one, value=None, withheld="too dark") if one.name == name else one
        for one in measured.biomarkers
    )
    withheld = told(replace(measured, biomarkers=gone), oracle).classification
    assert withheld.withheld.endswith("is withheld: too dark")
    assert (reviewed.probabilities, withheld.probabilities, oracle.shown) == ({}, {}, [])


def test_what_a_network_always_errs_and_what_is_said_of_others_does_not_matter(measured):
    always = QualityFinding("rv_known_error", Verdict.REVIEW, "10 ml", concerns=("rv_ef",))
    other = QualityFinding("a_check", Verdict.REVIEW, "odd", concerns=("lv_peak_filling_rate",))
    case = replace(measured, quality=(*measured.quality, always, other))
    assert told(case).classification.found == "infarction"
    whole = QualityFinding("a_check", Verdict.REVIEW, "all of it is odd")
    assert "all of it is odd" in told(replace(case, quality=(whole,))).classification.withheld


def test_low_confidence_and_a_strange_heart_are_withheld(measured):
    unsure = told(measured, Oracle(0.55)).classification
    assert "0.55, less than 0.6 (min_confidence)" in unsure.withheld
    assert told(measured, Oracle(0.55), min_confidence=0.5).classification.found == "infarction"
    strange = told(measured, Oracle(familiarity=-3.0)).classification
    assert strange.withheld.startswith("the heart is unlike those the network learned from")
    assert unsure.probabilities == strange.probabilities == {}


def test_the_chain_tells_last_and_only_when_asked():
    networks = OracleLocaliser(), OracleSegmenter()
    names = [
        [stage.name for stage in cine_stages(CineSettings(), *networks, disease=disease)]
        for disease in (None, Oracle())
    ]
    assert names[1] == [*names[0], "classification"]
    assert names[0][-1] == "quality"


@pytest.mark.parametrize("withheld", [None, "lv_ef is to be reviewed"])
def test_report_and_findings_state_it_and_the_report_stays_valid(withheld, tmp_path):
    probabilities = {"normal": 0.1, "hypertrophic_cardiomyopathy": 0.9}
    training = "Disease group: Research model x 1, trained on: ACDC. Not validated."
    classification = Classification(SUBJECT, training, {} if withheld else probabilities, withheld)
    case = replace(make_case(), classification=classification)
    results = write_results(case, CONTEXT, ("full", "display"))
    shown = [one.dataset for one in results if one.role.startswith("key_sr")]
    assert {one.ContentSequence[0].TextValue for one in shown} == {DISCLAIMER}
    (written,) = [one for one in results if one.role == "sr"]
    report = written.dataset
    assert report.ContentSequence[0].TextValue == f"{training} {DISCLAIMER}"
    said = [item.TextValue for item in items(report, "TEXT")]
    values = {
        item.ConceptNameCodeSequence[0].CodeValue: item.MeasuredValueSequence[0].NumericValue
        for item in items(report, "NUM")
    }
    codes = [
        item.ConceptCodeSequence[0].CodeValue
        for item in items(report, "CODE")
        if item.ConceptNameCodeSequence[0].CodeValue == "121071"
    ]
    if withheld:
        assert f"Withheld: {withheld}" in said
        assert "p_cmr_hcm" not in values
        assert "233873004" not in codes
    else:
        assert (values["p_cmr_hcm"], values["p_cmr_normal"]) == (0.9, 0.1)
        assert "233873004" in codes
    assert conformance_errors(written, tmp_path) == []
    stated = completed_findings(case, results, pipeline="cine", numeric_backend="test-fp32")
    found = stated.classification
    assert (found.subject, found.withheld) == ("disease_group", withheld)


def test_the_network_of_the_settings_joins_the_chain(tmp_path):
    write_network(tmp_path, "cine_disease_biomarkers", says=3)
    settings = Settings.model_validate(
        {
            "allow_research_models": True,
            "pipelines": {"cine": {"disease_classifier": "cine_disease_biomarkers"}},
            "worker": {"weights_folder": tmp_path, "device": "cpu"},
        }
    )
    networks = settings.pipelines.cine.networks
    assert networks[-1] == ("cine_disease_biomarkers", "disease_classification")
    pipeline = build_cine_pipeline(settings.pipelines.cine, settings.worker)
    case = pipeline.stages[-1](drawn_case())
    assert case.classification.subject == SUBJECT
    assert (
        case.classification.withheld or case.classification.found == "hypertrophic_cardiomyopathy"
    )


def test_settings_that_tell_no_group_decide_nothing():
    def digest(**cine):
        allowed = {"allow_research_models": True, "pipelines": {"cine": cine}}
        return settings_digest(Settings.model_validate(allowed))

    assert digest(min_confidence=0.9) == digest()
    named = digest(disease_classifier="cine_disease_images")
    assert named != digest()
    assert digest(disease_classifier="cine_disease_images", min_confidence=0.9) != named
