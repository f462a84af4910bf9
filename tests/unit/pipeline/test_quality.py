"""Each check is made to fire by breaking a good case on purpose."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset

from config.quality import CineQualitySettings
from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    RV_CAVITY,
    Biomarker,
    CineCase,
    Phases,
    QualityFinding,
    Verdict,
)
from pipeline.results.statements import measured_slices
from pipeline.stages.biomarkers import ED_WALL, FUNCTION, VOLUMETRIC, Quantify
from pipeline.stages.coverage import UNKNOWN_ENDS, apex_is_last, missing_share
from pipeline.stages.curve import PEAK_RATES
from pipeline.stages.plausibility import check_volumes
from pipeline.stages.quality import CheckQuality, withhold
from tests.unit.pipeline.cine_cases import (
    PERFECT,
    OracleSegmenter,
    drawn_labels,
    finding,
    header,
    label_stack,
    oracle_pipeline,
    value,
    withheld,
)

STROKE = {"lv_sv", "lv_ef", "cardiac_output", "lv_sv_index", "cardiac_output_index"}
# 12 phases are too few for rates.
MEASURED = set(FUNCTION) - set(PEAK_RATES)


def good_labels() -> np.ndarray:
    """The drawn heart with an RV that ejects as much as the LV."""
    labels = drawn_labels(size=110)
    y, x = np.mgrid[:110, :110] - 54.5
    labels[labels == RV_CAVITY] = 0
    for t, z in np.ndindex(labels.shape[:2]):
        if not labels[t, z].any():
            continue
        area = np.count_nonzero(labels[t, z] == LV_CAVITY)
        near = np.where((labels[t, z] == 0) & (x < 0), np.hypot(y, x + 24), np.inf)
        labels[t, z].ravel()[np.argsort(near, axis=None)[: int(1.05 * area)]] = RV_CAVITY
    return labels


def measure(labels: np.ndarray, **changes: object) -> CineCase:
    return oracle_pipeline().run(replace(label_stack(labels, slice_spacing_mm=7.5), **changes))


def lost(case: CineCase) -> set[str]:
    """Which of what a drawn heart always has was taken back or not measured."""
    return {one.name for one in case.biomarkers if one.value is None} & MEASURED


def recheck(case: CineCase, **changes: object) -> CineCase:
    """Quantify and check again with something of the case changed."""
    check = CheckQuality(8, OracleSegmenter.card)
    return check(Quantify()(replace(case, **changes, quality=(), biomarkers=())))


@pytest.fixture(scope="module")
def good() -> CineCase:
    return measure(good_labels())


def test_a_good_case_passes_every_check_and_keeps_every_number(good):
    assert {one.check: one.verdict for one in good.quality} == dict.fromkeys(
        (
            *("coverage_base", "coverage_apex", "phases_count", "missing_images"),
            *(
                "left_ventricle",
                "slice_spacing",
                "volume_plausibility",
                "short_axis_plane",
                "myocardium_ring",
                "curve_range",
            ),
            *("detection_agreement", "detection_confidence", "lv_ef_range", "rv_ef_range"),
            *("stroke_volume_agreement", "mass_plausibility", "mass_conservation"),
            *("image_contrast", "image_noise", "image_sharpness", "image_ghosting", "rv_blood"),
            *("lv_pieces", "rv_pieces", "slice_alignment", "lv_slice_areas", "rv_slice_areas"),
            *("slice_contraction", "phase_areas", "lv_variation", "rv_variation"),
            *("lv_known_error", "rv_known_error"),
        ),
        Verdict.OK,
    )
    assert not lost(good)
    assert all(one.reason for one in good.quality)


def blank(case: CineCase, z: int) -> CineCase:
    """The same measurement with an image of slice `z` that shows nothing."""
    frames = np.random.default_rng(0).normal(size=case.stack.frames.shape).astype(np.float32)
    frames[3, z] = 7
    return recheck(case, stack=replace(case.stack, frames=frames))


def test_images_that_show_nothing_take_the_volumes_back(good):
    relevant = np.flatnonzero(good.relevance.relevant)
    fired = finding(blank(good, relevant[2]), "blank_images")
    assert (fired.verdict, fired.value) == (Verdict.WITHHELD, 1)
    assert set(fired.withholds) == set(VOLUMETRIC)
    assert f"slices {relevant[2] + 1}" in fired.reason
    outside = blank(good, relevant[0] - 1)
    assert "blank_images" not in [one.check for one in outside.quality]


def without_cavity(labels: np.ndarray, phase: int) -> np.ndarray:
    labels[phase][labels[phase] == LV_CAVITY] = LV_MYOCARDIUM
    return labels


def opened(labels: np.ndarray) -> np.ndarray:
    labels[:, :, 62:][labels[:, :, 62:] == LV_MYOCARDIUM] = 0
    return labels


def stretched(labels: np.ndarray, factor: float) -> np.ndarray:
    """Longer than wide: rows repeated."""
    rows = np.floor(np.arange(int(labels.shape[2] * factor)) / factor).astype(int)
    return labels[:, :, rows]


def still(labels: np.ndarray) -> np.ndarray:
    return np.repeat(labels[:1], len(labels), axis=0)


def hardly_moved(labels: np.ndarray) -> np.ndarray:
    """Every phase as ED, but for a part of the cavity around ES."""
    labels[:] = labels[0]
    part = labels[2:7, 5, :, :50]
    part[part == LV_CAVITY] = LV_MYOCARDIUM
    return labels


def walls_lost(labels: np.ndarray) -> np.ndarray:
    labels[:, 4:6, :, 46:][labels[:, 4:6, :, 46:] == LV_MYOCARDIUM] = 0
    return labels


def emptied_right(labels: np.ndarray) -> np.ndarray:
    labels[4, :, :, :35][labels[4, :, :, :35] == RV_CAVITY] = 0
    return labels


def grown_right(labels: np.ndarray) -> np.ndarray:
    """The RV of ED everywhere, except that it is smaller at ED."""
    right = labels[0] == RV_CAVITY
    for t in range(1, len(labels)):
        labels[t][labels[t] == RV_CAVITY] = 0
        labels[t][right & (labels[t] == 0)] = RV_CAVITY
    labels[0, :, :50][labels[0, :, :50] == RV_CAVITY] = 0
    return labels


def stiff_right(labels: np.ndarray) -> np.ndarray:
    right = labels[0] == RV_CAVITY
    for t in range(len(labels)):
        labels[t][labels[t] == RV_CAVITY] = 0
        labels[t][right & (labels[t] == 0)] = RV_CAVITY
    return labels


def thin_in_systole(labels: np.ndarray) -> np.ndarray:
    """At ES the wall, but its septal side and its innermost two pixels, is called background."""
    cavity = labels[4] == LV_CAVITY
    inner = np.any([np.roll(cavity, n, axis) for n in (-2, -1, 1, 2) for axis in (1, 2)], axis=0)
    inner[:, :, :46] = True
    labels[4][(labels[4] == LV_MYOCARDIUM) & ~inner] = 0
    return labels


@pytest.mark.parametrize(
    ("broken", "check", "verdict", "reason", "taken_back"),
    [
        (lambda m: m[[0, 2, 4, 6, 8]], "phases_count", "review", "only 5 cardiac phases", set()),
        (lambda m: m[:, 2:], "coverage_base", "ok", "ends with the ventricle", set()),
        (lambda m: m[:, 6:], "coverage_base", "withheld", "is missing", VOLUMETRIC),
        (lambda m: m[:, :-4], "coverage_apex", "review", "at the apex", set()),
        (lambda m: m[:, ::-1][:, 4:], "coverage_apex", "review", "at the apex", set()),
        (lambda m: m[:, :-2], "coverage_apex", "ok", "ends with the ventricle", set()),
        (lambda m: m[:, :-6], "coverage_apex", "withheld", "is missing", VOLUMETRIC),
        (lambda m: stretched(m, 1.5), "short_axis_plane", "review", "1.5 times as long", set()),
        (lambda m: stretched(m, 2), "short_axis_plane", "withheld", "not a short-axis", VOLUMETRIC),
        (opened, "myocardium_ring", "review", "of the cavity open", set()),
        (walls_lost, "myocardium_ring", "withheld", "of the cavity open", VOLUMETRIC),
        (still, "curve_range", "withheld", "only 0%",
         STROKE | {"rv_sv", "rv_ef", "rv_sv_index"}),
        (hardly_moved, "curve_range", "review", "only 3%", set()),
        (emptied_right, "rv_ef_range", "review", "more than hearts eject", set()),
        (grown_right, "rv_ef_range", "withheld", "is no ejection fraction",
         {"rv_sv", "rv_ef", "rv_sv_index"}),
        (stiff_right, "stroke_volume_agreement", "review", "differ by", set()),
        (thin_in_systole, "mass_conservation", "review", "between ED and ES", set()),
    ],
)  # fmt: skip
def test_a_broken_study_is_noticed(
    broken: Callable[[np.ndarray], np.ndarray], check, verdict, reason, taken_back, good
):
    case = measure(np.ascontiguousarray(broken(good_labels())))
    fired = finding(case, check)
    assert fired.verdict == verdict
    assert reason in fired.reason
    assert lost(case) == MEASURED & set(taken_back)
    assert all(withheld(case, name) == fired.reason for name in MEASURED & set(taken_back))


@pytest.mark.parametrize("kept", [slice(4, None), slice(-4)])
def test_a_base_that_may_be_missing_asks_for_review(kept):
    labels = good_labels() if kept.start else good_labels()[:, ::-1]
    case = oracle_pipeline().run(label_stack(labels[:, kept], slice_spacing_mm=6.9))
    assert missing_share(case) == pytest.approx(0.316, abs=0.01)
    fired = finding(case, "coverage_base")
    assert (fired.verdict, fired.withholds) == (Verdict.REVIEW, ())
    assert fired.reason == "the stack stops inside the ventricle at the base"


@pytest.mark.parametrize("phase", [0, 4])
def test_without_a_cavity_nothing_is_measured(good, phase):
    labels = without_cavity(good_labels(), phase)
    case = recheck(good, segmentation=replace(good.segmentation, labels=labels))
    assert finding(case, "left_ventricle").verdict == Verdict.WITHHELD
    assert lost(case) == MEASURED


def test_label_maps_without_any_label(good):
    nothing = replace(good.segmentation, labels=np.zeros_like(good.segmentation.labels))
    case = recheck(good, segmentation=nothing)
    assert {one.name for one in case.biomarkers if one.value is not None} == {"heart_rate", "bsa"}
    assert "not checked" in finding(case, "short_axis_plane").reason


@pytest.mark.parametrize(
    ("share", "verdict", "kept"),
    [(0.0, "ok", True), (0.02, "review", True), (0.34, "withheld", False)],
)
def test_missing_images_are_named(share, verdict, kept):
    missing = ("slice 4: phase 7 missing", "one slice between 5 and 6")
    case = measure(good_labels(), missing=missing, missing_fraction=share)
    fired = finding(case, "missing_images")
    assert fired.verdict == verdict
    assert fired.value == share
    assert all(name in fired.reason for name in missing)
    assert (value(case, "lv_edv") is not None) == kept


def test_a_gap_between_the_phases_asks_for_review_and_is_named(good):
    times = np.array([*range(0, 240, 40), *range(320, 560, 40)], float)
    gap = recheck(good, stack=replace(good.stack, trigger_times_ms=times))
    fired = finding(gap, "phases_count")
    assert fired.verdict is Verdict.REVIEW
    assert fired.reason == "no cardiac phase lies between 200 and 320 ms: ED or ES may be missing"
    assert not lost(gap)


@pytest.mark.parametrize("first", [0, 10], ids=["systole alone", "diastole alone"])
def test_a_beat_of_which_only_a_part_was_taken_asks_for_review(first):
    """What is left contracts, or relaxes, as far as it goes."""
    part = finding(measure(drawn_labels(24, size=110, es=8)[first : first + 8]), "phases_count")
    assert part.verdict is Verdict.REVIEW
    assert "ES may be missing" in part.reason


@pytest.mark.parametrize(
    ("phases", "verdict"),
    [
        (Phases(0, 4), "ok"),
        (Phases(11, 5), "ok"),
        (Phases(0, 8), "review"),
        (Phases(3, 4), "review"),
    ],
)
def test_phases_far_from_the_extremes_of_the_curve_ask_for_review(good, phases, verdict):
    assert finding(recheck(good, phases=phases), "detection_agreement").verdict == verdict


def test_phases_the_detector_is_not_sure_of_ask_for_review(good):
    found = finding(recheck(good, phases=Phases(0, 4, unsure=("ES",))), "detection_confidence")
    assert (found.verdict, "clearly ES" in found.reason) == (Verdict.REVIEW, True)


def test_phases_far_apart_on_a_plateau_agree():
    labels = good_labels()
    labels[6:] = labels[0]
    case = recheck(measure(labels), phases=Phases(11, 4))
    assert finding(case, "detection_agreement").verdict == Verdict.OK


def test_ed_and_es_interchanged_withhold_the_ejection_fraction(good):
    case = recheck(good, phases=Phases(good.phases.es, good.phases.ed))
    assert finding(case, "lv_ef_range").verdict == Verdict.WITHHELD
    assert {one.name for one in case.biomarkers if one.value is None} >= STROKE
    assert value(case, "lv_edv") is not None


@pytest.mark.parametrize("scale", [0.2, 3.0])
def test_a_mass_no_heart_has_is_withheld(scale):
    case = measure(good_labels(), pixel_spacing_mm=(1.5 * scale, 1.5 * scale))
    fired = finding(case, "mass_plausibility")
    assert fired.verdict == Verdict.WITHHELD
    assert set(fired.withholds) == set(VOLUMETRIC)


def test_without_myocardium_nothing_is_measured(good):
    labels = good_labels()
    labels[0][labels[0] == LV_MYOCARDIUM] = 0
    case = recheck(good, segmentation=replace(good.segmentation, labels=labels))
    fired = finding(case, "mass_plausibility")
    assert (fired.verdict, fired.reason) == (
        Verdict.WITHHELD,
        "no LV myocardium was found at end diastole",
    )
    assert lost(case) == MEASURED


RIGHT = {"rv_edv", "rv_esv", "rv_edv_index", "rv_esv_index", "rv_sv", "rv_ef", "rv_sv_index"}


@pytest.mark.parametrize(
    ("stated", "says", "taken_back"),
    [
        ({"lv_edv": 701.0}, "LV end-diastolic volume 701 ml", VOLUMETRIC),
        ({"lv_edv": 9.0}, "LV end-diastolic volume 9 ml", VOLUMETRIC),
        ({"rv_edv": 815.0}, "RV end-diastolic volume 815 ml", VOLUMETRIC),
        ({"rv_edv": 9.0}, "RV end-diastolic volume 9 ml", RIGHT),
    ],
)
def test_volumes_no_heart_has_are_withheld(good, stated, says, taken_back):
    fired = check_volumes(
        replace(
            good,
            biomarkers=tuple(
                replace(one, value=stated.get(one.name, one.value)) for one in good.biomarkers
            ),
        ),
        CineQualitySettings(),
    )
    assert fired.verdict == Verdict.WITHHELD
    assert says in fired.reason
    assert set(fired.withholds) == set(taken_back)


def test_without_volumes_their_size_is_not_checked(good):
    fired = check_volumes(replace(good, biomarkers=()), CineQualitySettings())
    assert (fired.verdict, "not checked" in fired.reason) == (Verdict.REVIEW, True)


def enhanced_of(thickness_mm: str) -> Dataset:
    measures = header(SliceThickness=thickness_mm)
    group = header(PixelMeasuresSequence=[measures])
    return header(SharedFunctionalGroupsSequence=[group])


@pytest.mark.parametrize(
    ("spacing_mm", "source", "verdict", "says"),
    [
        (7.5, header(SliceThickness="3.5"), "ok", "7.5 mm apart"),
        (7.5, header(SliceThickness="2.5"), "review", "slices of 2.5 mm thickness are 7.5 mm"),
        (7.5, enhanced_of("2.5"), "review", "slices of 2.5 mm thickness are 7.5 mm"),
        (7.5, header(SliceThickness="0"), "ok", "7.5 mm apart"),
        (25.0, header(), "withheld", "250 mm long and 66 mm wide"),
    ],
)
def test_slices_too_far_apart_are_named(spacing_mm, source, verdict, says):
    stack = label_stack(good_labels(), slice_spacing_mm=spacing_mm, headers={"1.2": source})
    fired = finding(oracle_pipeline().run(stack), "slice_spacing")
    assert fired.verdict == verdict
    assert says in fired.reason
    assert set(fired.withholds) == (set(VOLUMETRIC) if verdict == "withheld" else set())


def test_few_slices_too_far_apart_are_named():
    stack = label_stack(good_labels()[:, 3:9:2], slice_spacing_mm=25.0)
    fired = finding(oracle_pipeline().run(stack), "slice_spacing")
    assert (fired.verdict, fired.reason) == (Verdict.REVIEW, "slices are 25 mm apart")


@pytest.mark.parametrize("cut", [0, 2, 4])
def test_the_missing_share_is_estimated_from_the_proportions(cut):
    """The drawn LV is 75 mm long and 66 mm wide: 74 mm are expected of that width."""
    case = measure(good_labels()[:, cut + 1 :])
    assert missing_share(case) == pytest.approx(max(0, 1 - (75 - 7.5 * cut) / 73.9), abs=0.08)


def test_a_short_ventricle_that_tapers_at_the_end_of_the_stack_is_only_reviewed():
    case = oracle_pipeline().run(label_stack(good_labels()[:, :-1], slice_spacing_mm=4.0))
    assert missing_share(case) > 0.4
    assert finding(case, "coverage_apex").verdict == Verdict.REVIEW
    assert value(case, "lv_edv") is not None


def test_which_end_is_the_apex(good):
    assert apex_is_last(good)
    assert apex_is_last(measure(good_labels()[:, ::-1])) is False


def test_the_report_says_where_slices_begin_and_that_none_lies_beyond_the_base(good):
    labels = good_labels()
    base = np.flatnonzero(labels[0].any(axis=(1, 2)))[0]
    said = " ".join(measured_slices(good))
    assert "slice 1 is at the base." in said
    assert "beyond the base" not in said
    ended = measure(labels[:, base:])
    assert finding(ended, "coverage_base").verdict is Verdict.OK
    assert "No slice lies beyond the base" in " ".join(measured_slices(ended))
    turned = " ".join(measured_slices(measure(labels[:, ::-1])))
    assert "slice 1 is at the apex." in turned
    unmeasured = replace(good, phases=None, segmentation=None)
    assert "slice 1" not in " ".join(measured_slices(unmeasured))


def test_slices_beyond_the_base_do_not_turn_the_stack_over():
    """Slices of the atrium are sometimes taken for slices of the LV; nothing is drawn there."""
    labels = good_labels()[:, ::-1]
    case = measure(np.concatenate([labels, np.zeros_like(labels[:, :3])], axis=1))
    relevant = np.ones_like(case.relevance.relevant)
    assert (
        apex_is_last(replace(case, relevance=replace(case.relevance, relevant=relevant))) is False
    )


def test_a_slice_that_is_half_atrium_does_not_turn_the_stack_over():
    labels = good_labels()
    base = np.flatnonzero(labels[0].any(axis=(1, 2)))[0]
    labels[:, base, 50:] = 0
    assert apex_is_last(measure(labels))


def test_segments_of_a_ventricle_that_does_not_taper_are_withheld():
    """Turned over, they would be wrong numbers without a word."""
    labels = good_labels()
    middle = labels.shape[1] // 2
    case = measure(np.repeat(labels[:, middle : middle + 1], 8, axis=1))
    assert apex_is_last(case) is None
    assert {withheld(case, name) for name in ED_WALL[:16]} == {UNKNOWN_ENDS}


def test_a_finding_takes_back_what_it_names_once_and_keeps_earlier_reasons(good):
    first = QualityFinding("a", Verdict.WITHHELD, "first reason", withholds=("lv_ef", "bsa"))
    second = QualityFinding("b", Verdict.WITHHELD, "second reason", withholds=("lv_ef", "lv_sv"))
    unknown = Biomarker("bsa", None, "m2", "the images state no height")
    before = replace(
        good,
        quality=(first, second),
        biomarkers=(unknown, *(one for one in good.biomarkers if one.name != "bsa")),
    )
    after = withhold(before)
    assert withheld(after, "lv_ef") == "first reason"
    assert withheld(after, "lv_sv") == "second reason"
    assert withheld(after, "bsa") == "the images state no height"
    assert value(after, "lv_edv") == value(before, "lv_edv")


def judged(good: CineCase, **errors: float) -> CineCase:
    """The good case by a network whose card states these mean errors."""
    figures = PERFECT["test_drawn"] | errors
    metrics = {"test_drawn": figures, "test_synthetic": {"rv_ef_error_mean": 50.0}}
    card = replace(OracleSegmenter.card, metrics=metrics)
    return CheckQuality(8, card)(replace(good, quality=()))


@pytest.mark.parametrize(
    ("errors", "check", "says", "concerns"),
    [
        (
            {"rv_esv_error_ml_mean": 13.64, "rv_ef_error_mean": -8.51},
            "rv_known_error",
            (
                *("3 test patients", "RV end-systolic volume 13.6 ml too high"),
                *("RV stroke volume 13.6 ml too low", "RV ejection fraction 8.5 points too low"),
            ),
            {"rv_esv", "rv_esv_index", "rv_sv", "rv_sv_index", "rv_ef"},
        ),
        (
            {"rv_edv_error_ml_mean": 12.0, "rv_esv_error_ml_mean": 12.0},
            "rv_known_error",
            ("RV end-diastolic volume 12.0 ml too high",),
            {"rv_edv", "rv_edv_index", "rv_esv", "rv_esv_index"},
        ),
        (
            {"lv_edv_error_ml_mean": -11.0},
            "lv_known_error",
            ("LV end-diastolic volume 11.0 ml too low", "LV stroke volume 11.0 ml too low"),
            {"lv_edv", "lv_edv_index", "lv_sv", "lv_sv_index", "cardiac_output",
             "cardiac_output_index"},
        ),
        (
            {"lv_mass_error_g_mean": 10.1},
            "lv_known_error",
            ("LV mass 10.1 g too high",),
            {"lv_mass", "lv_mass_index"},
        ),
    ],
)  # fmt: skip
def test_a_network_known_to_err_asks_for_review(good, errors, check, says, concerns):
    case = judged(good, **errors)
    fired = finding(case, check)
    assert fired.verdict == Verdict.REVIEW
    assert all(words in fired.reason for words in says)
    assert set(fired.concerns) == concerns
    others = {one.verdict for one in case.quality if one is not fired}
    assert others == {Verdict.OK}
    assert case.biomarkers == good.biomarkers


def test_a_better_card_asks_for_nothing(good):
    case = judged(good, rv_esv_error_ml_mean=9.9, rv_ef_error_mean=-4.9, lv_mass_error_g_mean=9.9)
    assert {one.verdict for one in case.quality} == {Verdict.OK}


@pytest.mark.parametrize(("patients", "verdict"), [(3, Verdict.OK), (30, Verdict.REVIEW)])
def test_the_error_counts_over_the_patients_of_all_sets(good, patients, verdict):
    metrics = {
        "test_one": {"patients": 10, "lv_ef_error_mean": -0.5},
        "test_other": {"patients": patients, "lv_ef_error_mean": 8.0},
    }
    card = replace(OracleSegmenter.card, metrics=metrics)
    found = finding(CheckQuality(8, card)(replace(good, quality=())), "lv_known_error")
    assert found.verdict == verdict
    if verdict == Verdict.REVIEW:
        assert "one" in found.reason
        assert "other" in found.reason
        assert "5.9 points too high" in found.reason


@pytest.mark.parametrize("metrics", [{}, {"steps": 9, "test_x": {"dice_lv_ed_mean": 0.9}}])
def test_a_network_never_measured_on_patients_asks_for_review(good, metrics):
    card = replace(OracleSegmenter.card, metrics=metrics)
    case = CheckQuality(8, card)(replace(good, quality=()))
    fired = [finding(case, f"{side}_known_error") for side in ("lv", "rv")]
    assert {one.verdict for one in fired} == {Verdict.REVIEW}
    assert {name for one in fired for name in one.concerns} == MEASURED


def test_quality_needs_what_it_checks(good):
    with pytest.raises(ValueError, match="after"):
        CheckQuality(8, OracleSegmenter.card)(replace(good, segmentation=None))
