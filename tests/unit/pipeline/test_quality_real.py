"""Each check fires on real images broken on purpose, seen by the networks that ship.

Patients are those of validation, on whom thresholds were chosen (decision 12); what is expected
here lies far beyond them. No image breaks what a network's own card says (`lv_known_error`), and
for `lv_volume_agreement` no weights ship.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from config.schema import CineSettings, LgeSettings, WorkerSettings
from dicom_node.study_quality import chain
from models.training import acdc, emidec
from models.training.breakages import broken
from models.training.cases import LabelledCine, LabelledVolume
from pipeline.case import CineCase, CineStack, Verdict
from pipeline.cine import build_cine_pipeline
from pipeline.errors import Rejection
from pipeline.lge import build_lge_pipeline
from pipeline.lge_case import LgeCase
from pipeline.stages import Stage
from tests.unit.pipeline.cine_cases import finding, label_stack
from tests.unit.pipeline.lge_cases import lge_stack

OK, REVIEW, WITHHELD = Verdict.OK, Verdict.REVIEW, Verdict.WITHHELD
Expected = Mapping[str, Verdict]
Heart = tuple[LabelledVolume, LabelledVolume]
CINE = "patient042"


def stack_of(
    frames: np.ndarray, pixel_spacing_mm: tuple[float, float], slice_spacing_mm: float
) -> CineStack:
    nothing = np.zeros(frames.shape, np.uint8)
    spacing = {"pixel_spacing_mm": pixel_spacing_mm, "slice_spacing_mm": slice_spacing_mm}
    return replace(label_stack(nothing, **spacing), frames=np.ascontiguousarray(frames))


@cache
def two_phases() -> tuple[Stage, ...]:
    from models.predict import HeartLocaliser, StackSegmenter

    return chain(CineSettings(), HeartLocaliser(), StackSegmenter())


@cache
def whole_beat():
    return build_cine_pipeline(CineSettings(detector="cine_ed_es"), WorkerSettings())


@cache
def heart(data: Path, patient: str) -> Heart:
    return acdc.read_patient(data, patient)


def measured(stack: CineStack) -> CineCase:
    case = CineCase(stack)
    for stage in two_phases():
        case = stage(case)
    return case


def images(ed: LabelledVolume, es: LabelledVolume) -> np.ndarray:
    return np.stack([ed.images, es.images])


def like(
    of: LabelledVolume | LabelledCine, frames: np.ndarray, slice_spacing_mm: float = 0.0
) -> CineStack:
    return stack_of(frames, of.pixel_spacing_mm, slice_spacing_mm or of.slice_spacing_mm)


def as_in_the_study(
    name: str, degree: float
) -> Callable[[LabelledVolume, LabelledVolume], CineStack]:
    return lambda ed, es: stack_of(*broken(name, degree, ed, es))


def lv_slices(ed: LabelledVolume) -> np.ndarray:
    return np.flatnonzero(np.isin(ed.labels, (1, 2)).any(axis=(1, 2)))


def other_beats_around_the_middle(ed: LabelledVolume, es: LabelledVolume) -> CineStack:
    """All but the middle slices begin half a beat later."""
    frames, shown = images(ed, es), lv_slices(ed)
    middle = shown[(len(shown) - 3) // 2 :][:3]
    around = np.setdiff1d(np.arange(frames.shape[1]), middle)
    frames[:, around] = frames[::-1, around]
    return like(ed, frames)


def blank_at_es(ed: LabelledVolume, es: LabelledVolume) -> CineStack:
    """Every second slice of the LV came as one grey value."""
    frames = images(ed, es)
    frames[1, lv_slices(ed)[1:-1:2]] = 0
    return like(ed, frames)


def noise_alone_at_es(ed: LabelledVolume, es: LabelledVolume) -> CineStack:
    noise = np.random.default_rng(0).rayleigh(es.images.mean() / 1.3, es.images.shape)
    return like(ed, np.stack([ed.images, noise.astype(np.float32)]))


def rows_too_near(ed: LabelledVolume, es: LabelledVolume) -> CineStack:
    """The rows lie nearer to each other than the header says."""
    return like(ed, images(ed, es).repeat(8, axis=2)[:, :, ::5])


def slices_said_to_lie_far_apart(ed: LabelledVolume, es: LabelledVolume) -> CineStack:
    """100 mm where 10 are meant."""
    return like(ed, images(ed, es), slice_spacing_mm=100.0)


STUDIES: dict[str, tuple[str, Callable[[LabelledVolume, LabelledVolume], CineStack], Expected]] = {
    "base missing": (
        "patient061", as_in_the_study("base missing", 0.5), {"coverage_base": WITHHELD}
    ),
    "apex missing": (
        "patient061", as_in_the_study("apex missing", 0.5), {"coverage_apex": WITHHELD}
    ),
    "breath-holds differ": (
        "patient042", as_in_the_study("slices shifted", 20.0),
        {"slice_alignment": REVIEW, "rv_pieces": REVIEW},
    ),
    "slices at another phase": (
        "patient061", as_in_the_study("slices at another phase", 0.6),
        {"lv_slice_areas": REVIEW, "slice_contraction": REVIEW},
    ),
    "signal loss": (
        "patient042", as_in_the_study("signal loss", 25.0),
        {"image_contrast": REVIEW, "rv_blood": REVIEW, "rv_slice_areas": REVIEW,
         "lv_variation": REVIEW, "rv_variation": REVIEW},
    ),
    "noise": (
        "patient042", as_in_the_study("noise", 0.5),
        {"image_noise": REVIEW, "image_ghosting": REVIEW, "myocardium_ring": WITHHELD},
    ),
    "blur": ("patient042", as_in_the_study("blur", 8.0), {"image_sharpness": REVIEW}),
    "no beat": (
        "patient042", as_in_the_study("slices at another phase", 1.0), {"curve_range": WITHHELD}
    ),
    "beats out of step": (
        "patient042", other_beats_around_the_middle,
        {"lv_ef_range": WITHHELD, "rv_ef_range": WITHHELD, "slice_contraction": REVIEW},
    ),
    "no image": (
        "patient042", blank_at_es,
        {"blank_images": WITHHELD, "stroke_volume_agreement": REVIEW},
    ),
    "no signal, no heart": ("patient042", noise_alone_at_es, {"left_ventricle": WITHHELD}),
    "no signal, crumbs": (
        "patient065", noise_alone_at_es, {"lv_pieces": REVIEW, "mass_conservation": REVIEW}
    ),
    "wrong pixel spacing": ("patient042", rows_too_near, {"short_axis_plane": REVIEW}),
    "wrong slice spacing": (
        "patient042", slices_said_to_lie_far_apart,
        {"slice_spacing": WITHHELD, "volume_plausibility": WITHHELD, "mass_plausibility": WITHHELD},
    ),
}  # fmt: skip


@cache
def whole_case(data: Path, patient: str) -> CineCase:
    ed, es = heart(data, patient)
    return measured(like(ed, images(ed, es)))


@pytest.mark.parametrize("patient", ["patient042", "patient061", "patient065"])
def test_whole_hearts_pass_every_check(real_data, patient):
    case = whole_case(real_data, patient)
    assert {one.check: one.reason for one in case.quality if one.verdict is not OK} == {}


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_broken_on_purpose_is_noticed(real_data, name):
    patient, breakage, expected = STUDIES[name]
    case = measured(breakage(*heart(real_data, patient)))
    assert {check: finding(case, check).verdict for check in expected} == expected


def test_another_plane_than_the_short_axis_is_not_measured(real_data):
    with pytest.raises(Rejection, match="no_left_ventricle"):
        measured(as_in_the_study("oblique plane", 80.0)(*heart(real_data, "patient061")))


@cache
def cine(data: Path) -> LabelledCine:
    return acdc.read_cine(data, CINE)


def every_third_phase(of: LabelledCine) -> np.ndarray:
    return of.frames[: 3 * 12 : 3].copy()


def image_lost(of: LabelledCine) -> CineStack:
    """At a phase of diastole, a slice has no signal."""
    frames = every_third_phase(of)
    frames[9, 2] = np.random.default_rng(0).uniform(0, 1, frames[9, 2].shape)
    return like(of, frames)


def ecg_lost(of: LabelledCine) -> CineStack:
    """Every phase shows the heart at ED."""
    return like(of, every_third_phase(of)[:1].repeat(12, axis=0))


def systole_alone(of: LabelledCine) -> CineStack:
    return like(of, of.frames[:12, 1:4])


def phases_lost(of: LabelledCine) -> CineStack:
    """Two phases about ES never came."""
    kept = np.setdiff1d(np.arange(12), (4, 5))
    stack = like(of, every_third_phase(of)[kept])
    return replace(stack, trigger_times_ms=60.0 * kept)


CINES: dict[str, tuple[Callable[[LabelledCine], CineStack], Expected, str]] = {
    "image lost": (
        image_lost,
        {"phase_areas": REVIEW, "detection_agreement": REVIEW},
        "jumps at one phase",
    ),
    "ECG lost": (ecg_lost, {"detection_confidence": REVIEW}, "no phase is clearly"),
    "systole alone": (systole_alone, {"phases_count": REVIEW}, "ES may be missing"),
    "phases lost": (phases_lost, {"phases_count": REVIEW}, "between 180 and 360 ms"),
}


@pytest.mark.parametrize("name", CINES)
def test_a_cine_broken_on_purpose_is_noticed(real_data, name):
    breakage, expected, says = CINES[name]
    case = whole_beat().run(breakage(cine(real_data)))
    found = {check: finding(case, check) for check in expected}
    assert {check: one.verdict for check, one in found.items()} == expected
    assert says in next(iter(found.values())).reason


def test_a_whole_cine_passes_the_checks_of_its_course(real_data):
    """Of its middle slices, in which the detector is sure of ED, too."""
    case = whole_beat().run(like(cine(real_data), cine(real_data).frames[:, 1:4]))
    checks = {check for _, expected, _ in CINES.values() for check in expected}
    assert {check: finding(case, check).verdict for check in checks} == dict.fromkeys(checks, OK)


def test_no_check_goes_without_a_real_image(real_data):
    """That of images missing from the stack is tested where DICOM is read."""
    case = whole_case(real_data, "patient065")
    tested = {check for _, _, expected in STUDIES.values() for check in expected}
    tested |= {check for _, expected, _ in CINES.values() for check in expected}
    by_card = {one.check for one in case.quality if one.check.endswith("_known_error")}
    assert {one.check for one in case.quality} - by_card - {"missing_images"} == tested - {
        "blank_images"
    }


@cache
def late_enhancement():
    return build_lge_pipeline(LgeSettings(), WorkerSettings())


def lge(of: LabelledVolume, frames: np.ndarray, slice_spacing_mm: float = 10.0) -> LgeCase:
    stack = lge_stack(
        np.zeros(frames.shape, np.uint8),
        frames=np.ascontiguousarray(frames, dtype=np.float32)[None],
        pixel_spacing_mm=of.pixel_spacing_mm,
        slice_spacing_mm=slice_spacing_mm,
        slice_extent_mm=np.full(len(frames), slice_spacing_mm),
    )
    return late_enhancement().run(stack)


def noisy(of: LabelledVolume) -> np.ndarray:
    blood = of.images[of.labels == 1].mean()
    parts = np.random.default_rng(0).normal(0, 0.3 * blood, (2, *of.images.shape))
    return np.hypot(of.images + parts[0], parts[1])


def wall_of_one_shade(of: LabelledVolume) -> np.ndarray:
    return np.where(of.labels >= 2, of.images[of.labels == 2].mean(), of.images)


def dark_end_cut_off(of: LabelledVolume) -> np.ndarray:
    """Nothing is darker than blood, as if windowed and stored so."""
    return np.maximum(of.images, np.median(of.images[of.labels == 1]))


LGE: dict[str, tuple[Callable[[LabelledVolume], LgeCase], Expected]] = {
    "base missing": (lambda of: lge(of, of.images[4:]), {"coverage_base": WITHHELD}),
    "apex missing": (lambda of: lge(of, of.images[:4]), {"coverage_apex": WITHHELD}),
    "noise": (lambda of: lge(of, noisy(of)), {"myocardium_ring": REVIEW}),
    "scar does not show": (
        lambda of: lge(of, wall_of_one_shade(of)), {"scar_agreement": REVIEW}
    ),
    "dark end cut off": (lambda of: lge(of, dark_end_cut_off(of)), {"remote_myocardium": REVIEW}),
    "wrong pixel spacing": (
        lambda of: lge(of, of.images.repeat(8, axis=1)[:, ::5]), {"short_axis_plane": REVIEW}
    ),
    "wrong slice spacing": (
        lambda of: lge(of, of.images, slice_spacing_mm=100.0),
        {"slice_spacing": WITHHELD, "mass_plausibility": WITHHELD},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LGE)
def test_late_enhancement_broken_on_purpose_is_noticed(real_data, name):
    breakage, expected = LGE[name]
    case = breakage(emidec.read_case(real_data, "Case_P072"))
    assert {check: finding(case, check).verdict for check in expected} == expected


def test_late_enhancement_as_it_is_passes_every_check(real_data):
    of = emidec.read_case(real_data, "Case_P072")
    case = lge(of, of.images)
    assert {one.check: one.reason for one in case.quality if one.verdict is not OK} == {}
