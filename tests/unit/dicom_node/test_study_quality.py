"""The study of the quality checks: what it measures, keeps, and reports."""

import json
from dataclasses import replace

import numpy as np
import pytest

from config.quality import CineQualitySettings
from config.schema import CineSettings
from dicom_node.measure import plain_stack
from dicom_node.study_quality import StudyOf, chain, what_decides
from dicom_node.study_quality_report import StudyRow, write_report
from models.training import acdc
from models.training.breakages import BREAKAGES, broken
from models.training.cases import LabelledVolume
from tests.unit.pipeline.cine_cases import (
    SHADES,
    OracleLocaliser,
    OracleSegmenter,
    drawn_labels,
)


@pytest.fixture
def heart() -> tuple[LabelledVolume, LabelledVolume]:
    ed, es = drawn_labels()[[0, 4]]
    volume = LabelledVolume(SHADES[ed], ed, (1.5, 1.5), 8.0, "drawn", "ed")
    return volume, replace(volume, images=SHADES[es], labels=es, phase="es")


def stack_of(heart):
    return plain_stack(np.stack([one.images for one in heart]), (1.5, 1.5), 8.0)


def oracles(settings=None):
    return chain(settings or CineSettings(), OracleLocaliser(), OracleSegmenter())


def test_a_whole_study_has_no_error_and_two_phases_are_no_reason_to_doubt_it(heart, tmp_path):
    row = StudyOf(heart, tmp_path, oracles()).row("whole", 0.0, stack_of(heart))
    assert row.error == pytest.approx(0)
    assert row.rv_error == pytest.approx(0)
    assert not row.wrong
    assert "phases_count" not in row.checks


def test_slices_of_another_phase_are_wrong_and_noticed(heart, tmp_path):
    stack = plain_stack(*broken("slices at another phase", 0.6, *heart))
    row = StudyOf(heart, tmp_path, oracles()).row("slices at another phase", 0.6, stack)
    assert row.error < -20
    assert row.wrong
    assert row.noticed
    assert "slice_contraction" in row.checks


def test_what_was_found_is_kept_and_judged_by_new_thresholds(heart, tmp_path):
    stack = plain_stack(*broken("slices at another phase", 0.6, *heart))
    first = StudyOf(heart, tmp_path, oracles()).row("slices at another phase", 0.6, stack)
    lax = CineQualitySettings(contraction_step_review=5.0, lv_slice_area_review=5.0)
    (*_, judge) = oracles(CineSettings(quality=lax))
    again = StudyOf(heart, tmp_path, (judge,)).row("slices at another phase", 0.6, stack)
    assert again.error == first.error
    assert "slice_contraction" in first.checks
    assert "slice_contraction" not in again.checks


def test_other_networks_settings_or_versions_keep_theirs_apart_but_thresholds_do_not(monkeypatch):
    mine = what_decides(CineSettings(), (OracleSegmenter.card,))
    lax = CineSettings(quality=CineQualitySettings(noise_review=5.0))
    assert what_decides(lax, (OracleSegmenter.card,)) == mine
    assert what_decides(CineSettings(), (OracleLocaliser.card,)) != mine
    assert what_decides(CineSettings(relevance_threshold=0.4), (OracleSegmenter.card,)) != mine
    monkeypatch.setattr("dicom_node.study_quality.SOFTWARE_VERSION", "9.9.9")
    assert what_decides(CineSettings(), (OracleSegmenter.card,)) != mine


def test_a_study_without_a_heart_is_rejected_and_stays_so(heart, tmp_path):
    nothing = plain_stack(np.full((2, 4, 32, 32), 30, np.float32), (1.5, 1.5), 8.0)
    for stages in (oracles(), oracles()[-1:]):
        row = StudyOf(heart, tmp_path, stages).row("whole", 0.0, nothing)
        assert (row.verdict, row.error, row.wrong) == ("rejected", None, False)


def test_the_report_counts_what_is_wrong_and_noticed(tmp_path):
    good = StudyRow("p1", "whole", 0.0, 1.0, 12.0, "ok", "review", (), ("rv_variation",))
    doubted = StudyRow("p2", "whole", 0.0, 1.0, 2.0, "review", "ok", ("image_noise",))
    caught = replace(doubted, breakage="noise", degree=0.5, error=-12.0)
    missed = replace(good, breakage="blur", degree=8.0, error=11.0)
    harmless = replace(caught, error=9.0)
    rejected = replace(good, breakage="blur", degree=4.0, error=None, verdict="rejected")
    report = write_report((good, doubted, caught, missed, harmless, rejected), tmp_path, "test")
    lines = report.read_text().splitlines()
    assert "| whole | 2 | 1 (50%) |" in lines
    assert "| broken, LV EF off by more than 10 points | 2 | 1 (50%) |" in lines
    assert "| whole, verdict on the RV EF | 2 | 1 (50%) |" in lines
    assert "| whole, verdict on either | 2 | 2 (100%) |" in lines
    assert "| whole, RV EF off by more than 10 points, verdict on it | 1 | 1 (100%) |" in lines
    assert "| noise | 0.5 | 2 | 10.5 | 1 | 1 | 2 |" in lines
    assert "| image_noise | 1 | 1 | 1 | 1 |" in lines
    assert "- p1, blur 8, LV EF off by +11.0 points" in lines
    assert "- p2, whole 0, LV EF off by +1.0 points: image_noise" in lines
    assert len(json.loads((tmp_path / "quality-test.json").read_text())["rows"]) == 6


def test_every_breakage_changes_the_images_alike_each_time(heart):
    whole = stack_of(heart).frames
    for name, (_, degrees) in BREAKAGES.items():
        for degree in degrees:
            frames, spacing_mm, _ = broken(name, degree, *heart)
            again, *_ = broken(name, degree, *heart)
            assert np.array_equal(frames, again)
            assert np.isfinite(frames).all()
            assert spacing_mm == (1.5, 1.5)
            assert frames.shape != whole.shape or not np.allclose(frames, whole, atol=1)


@pytest.mark.parametrize(("name", "first"), [("base missing", 6), ("apex missing", 0)])
def test_a_share_of_the_ventricle_is_cut_from_its_end(heart, name, first):
    frames, *_ = broken(name, 0.5, *heart)
    assert np.array_equal(frames, stack_of(heart).frames[:, first : first + len(frames[0])])
    assert len(frames[0]) == 6


def test_a_real_heart_broken_on_purpose_is_noticed_and_the_whole_one_is_not(real_data, tmp_path):
    from models.predict import HeartLocaliser, StackSegmenter

    heart = acdc.read_patient(real_data, "patient065")
    stages = chain(CineSettings(), HeartLocaliser(), StackSegmenter())
    study = StudyOf(heart, tmp_path, stages)
    ed, es = heart
    images = np.stack([ed.images, es.images])
    whole = study.row("whole", 0.0, plain_stack(images, ed.pixel_spacing_mm, ed.slice_spacing_mm))
    assert (whole.wrong, whole.verdict) == (False, "ok")
    name, degree = "slices at another phase", 0.6
    row = study.row(name, degree, plain_stack(*broken(name, degree, ed, es)))
    assert (row.wrong, row.noticed) == (True, True)
