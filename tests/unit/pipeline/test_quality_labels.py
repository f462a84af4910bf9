"""Checks of the label maps: smooth over slices and phases, in one piece, the same at a second look.

Drawn hearts and the experts' labels of a real one are broken on purpose.
"""

from dataclasses import replace

import numpy as np
import pytest

from config.quality import CineQualitySettings
from models.training import acdc
from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    RV_CAVITY,
    Biomarker,
    CineCase,
    QualityFinding,
    Segmentation,
    Verdict,
)
from pipeline.stages.agreement import check_stroke_volumes, check_variation
from pipeline.stages.biomarkers import LV, RV, VOLUMETRIC
from pipeline.stages.outline import check_pieces
from pipeline.stages.smoothness import (
    area_jump,
    axis_offset_mm,
    check_alignment,
    check_contraction,
    check_phase_areas,
    check_slice_areas,
    contraction_step,
    phase_jump,
)
from pipeline.verdicts import verdict_of
from tests.unit.pipeline.cine_cases import drawn_case, drawn_labels

LIMITS = CineQualitySettings()
PATIENT = "patient065"  # of the validation patients


@pytest.fixture(scope="module")
def good() -> CineCase:
    return drawn_case()


def with_labels(case: CineCase, labels: np.ndarray, **looks: np.ndarray) -> CineCase:
    return replace(case, segmentation=Segmentation(labels, **looks))


def shifted(labels: np.ndarray, z: int, rows: int) -> np.ndarray:
    moved = labels.copy()
    moved[..., z, :, :] = np.roll(labels[..., z, :, :], rows, axis=-2)
    return moved


def lost(labels: np.ndarray, phase: int, z: int, code: int = LV_CAVITY) -> np.ndarray:
    without = labels.copy()
    without[phase, z][without[phase, z] == code] = 0
    return without


def test_a_slice_of_another_breath_hold_lies_beside_the_axis(good):
    assert check_alignment(good, LIMITS).verdict is Verdict.OK
    found = check_alignment(with_labels(good, shifted(drawn_labels(), 5, 12)), LIMITS)
    assert found.verdict is Verdict.REVIEW
    assert found.value == pytest.approx(18.0)


def test_an_axis_that_leans_is_still_one():
    labels = drawn_labels()[0]
    for z in range(len(labels)):
        labels = shifted(labels, z, z)
    assert axis_offset_mm(labels, (1.5, 1.5)) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("slices", [0, 1, 2])
def test_few_slices_have_no_axis_to_leave(slices):
    assert axis_offset_mm(drawn_labels()[0, 3 : 3 + slices], (1.5, 1.5)) == 0


@pytest.mark.parametrize(
    ("code", "check", "concerns"), [(1, "lv_slice_areas", LV), (3, "rv_slice_areas", RV)]
)
@pytest.mark.parametrize("phase", [0, 4])
def test_a_slice_that_lost_its_label_is_noticed(good, code, check, concerns, phase):
    assert check_slice_areas(good, LIMITS, code).verdict is Verdict.OK
    found = check_slice_areas(with_labels(good, lost(drawn_labels(), phase, 4, code)), LIMITS, code)
    assert (found.check, found.verdict, found.concerns) == (check, Verdict.REVIEW, concerns)


def test_area_jumps_are_shares_of_the_largest_slice():
    assert area_jump(np.array([0, 40, 100, 40, 0])) == pytest.approx(0.6)
    assert area_jump(np.array([0, 100, 75, 50, 25, 0])) == 0
    assert area_jump(np.array([0, 100, 0])) == 0


def test_slices_of_another_phase_contract_otherwise(good):
    assert check_contraction(good, LIMITS).verdict is Verdict.OK
    labels = drawn_labels()
    labels[4, 5] = labels[0, 5]
    found = check_contraction(with_labels(good, labels), LIMITS)
    assert (found.verdict, found.concerns) == (Verdict.REVIEW, LV)


@pytest.mark.parametrize(
    ("left", "step"),
    [
        ((0, 40, 40, 40), 0.0),
        ((0, 0, 10, 40, 45, 40), 0.05),
        ((10, 40, 40, 40), 0.0),
        ((100, 40, 40, 40), 0.6),
        ((40, 0, 40, 40), 0.4),
        ((40, 40, 90, 40), 0.5),
        ((0, 0, 0), 0.0),
    ],
)
def test_the_cavity_may_leave_slices_at_the_ends_but_nowhere_contract_less(left, step):
    ed = np.full((len(left), 1, 100), LV_CAVITY, dtype=np.uint8)
    es = np.zeros_like(ed)
    for z, width in enumerate(left):
        es[z, :, :width] = LV_CAVITY
    assert contraction_step(ed, es) == pytest.approx(step)


def test_a_label_lost_at_one_phase_is_noticed(good):
    assert check_phase_areas(good, LIMITS).verdict is Verdict.OK
    found = check_phase_areas(with_labels(good, lost(drawn_labels(), 7, 2)), LIMITS)
    assert (found.verdict, found.concerns) == (Verdict.REVIEW, LV)


def test_the_last_phase_comes_before_the_first():
    labels = lost(drawn_labels(), 0, 3)
    assert phase_jump(labels) > 0.3
    assert phase_jump(labels[[0, 4]]) == 0


def test_a_slice_that_never_has_a_label_does_not_jump_in_time():
    labels = drawn_labels()
    labels[:, 3] = 0
    assert phase_jump(labels) == phase_jump(drawn_labels()) < 0.05


def test_labels_in_pieces_are_noticed(good):
    labels = drawn_labels()[[0, 4]]
    islands = labels.copy()
    islands[1, 3:9, :14, :14] = LV_CAVITY
    for seen, verdict in ((labels, Verdict.OK), (islands, Verdict.REVIEW)):
        case = with_labels(good, drawn_labels(), uncleaned=seen)
        found = check_pieces(case, LIMITS, (LV_CAVITY, LV_MYOCARDIUM))
        assert (found.check, found.verdict) == ("lv_pieces", verdict)
        assert check_pieces(case, LIMITS, (RV_CAVITY,)).verdict is Verdict.OK


def test_a_second_look_that_sees_another_heart_is_noticed(good):
    labels = drawn_labels()
    other = labels[[0, 4]].copy()
    other[1, 3:5][other[1, 3:5] == LV_CAVITY] = 0
    for first, verdict in ((labels[[0, 4]], Verdict.OK), (other, Verdict.REVIEW)):
        case = with_labels(good, labels, first_look=first)
        left, right = check_variation(case, LIMITS)
        assert (left.check, left.verdict, right.verdict) == ("lv_variation", verdict, Verdict.OK)
        assert left.concerns == (LV if verdict is Verdict.REVIEW else ())


def test_what_was_not_kept_is_not_taken_for_good(good):
    case = with_labels(good, drawn_labels())
    found = [*check_variation(case, LIMITS), check_pieces(case, LIMITS, (RV_CAVITY,))]
    assert {one.verdict for one in found} == {Verdict.REVIEW}
    empty = with_labels(good, np.zeros_like(drawn_labels()), first_look=drawn_labels()[[0, 4]])
    assert {one.verdict for one in check_variation(empty, LIMITS)} == {Verdict.REVIEW}


@pytest.mark.parametrize(
    ("lv_sv", "rv_sv", "concerns"),
    [(120.0, 100.0, None), (120.0, 70.0, RV), (120.0, 40.0, VOLUMETRIC), (40.0, 10.0, None)],
)
def test_stroke_volumes_doubt_the_rv_first(good, lv_sv, rv_sv, concerns):
    stated = (Biomarker("lv_sv", lv_sv, "ml"), Biomarker("rv_sv", rv_sv, "ml"))
    found = check_stroke_volumes(replace(good, biomarkers=stated), LIMITS)
    assert found.verdict == (Verdict.OK if concerns is None else Verdict.REVIEW)
    assert found.concerns == (concerns or ())


def test_the_verdict_on_a_biomarker_joins_what_touches_it():
    quality = (
        QualityFinding("a", Verdict.OK, "fine", concerns=("lv_ef",)),
        QualityFinding("b", Verdict.REVIEW, "about the RV", concerns=("rv_ef",)),
        QualityFinding("c", Verdict.REVIEW, "about all"),
    )
    given = {name: Biomarker(name, 50.0, "%") for name in ("lv_ef", "rv_ef", "heart_rate")}
    assert verdict_of(given["lv_ef"], quality[:2]).verdict is Verdict.OK
    assert verdict_of(given["lv_ef"], quality).reasons == ("about all",)
    assert verdict_of(given["rv_ef"], quality).reasons == ("about the RV", "about all")
    assert verdict_of(given["heart_rate"], quality).verdict is Verdict.OK
    gone = verdict_of(Biomarker("lv_ef", None, "%", "no cavity"), quality)
    assert (gone.verdict, gone.reasons) == (Verdict.WITHHELD, ("no cavity",))


def real_steps(ed: np.ndarray, es: np.ndarray, spacing_mm: tuple[float, float]) -> dict[str, bool]:
    areas = [np.count_nonzero(labels == LV_CAVITY, axis=(1, 2)) for labels in (ed, es)]
    return {
        "alignment": axis_offset_mm(ed, spacing_mm) > LIMITS.axis_offset_review_mm,
        "areas": max(map(area_jump, areas)) > LIMITS.lv_slice_area_review,
        "contraction": contraction_step(ed, es) > LIMITS.contraction_step_review,
    }


def test_labels_of_a_real_heart_broken_on_purpose(real_data):
    ed, es = (volume.labels for volume in acdc.read_patient(real_data, PATIENT))
    spacing = acdc.read_patient(real_data, PATIENT)[0].pixel_spacing_mm
    assert not any(real_steps(ed, es, spacing).values())
    middle = int(np.flatnonzero((ed == LV_CAVITY).any(axis=(1, 2)))[3])
    far = round(25 / spacing[0])
    assert real_steps(shifted(ed, middle, far), es, spacing)["alignment"]
    assert real_steps(lost(ed[None], 0, middle)[0], es, spacing)["areas"]
    mixed = es.copy()
    mixed[middle] = ed[middle]
    assert real_steps(ed, mixed, spacing)["contraction"]
