"""Checks of the images: on drawn ones, and on a real heart broken on purpose."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from config.quality import CineQualitySettings
from models.training import acdc
from models.training.breakages import broken
from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    RV_CAVITY,
    CineCase,
    Phases,
    Relevance,
    Segmentation,
    Verdict,
)
from pipeline.stages.image_quality import (
    check_ghosting,
    check_images,
    check_rv_blood,
    ghosting,
    sight,
)
from tests.unit.pipeline.cine_cases import SHADES, drawn_case, drawn_labels, finding, label_stack

LIMITS = CineQualitySettings()
PATIENT = "patient019"  # of the validation patients


@pytest.fixture(scope="module")
def good() -> CineCase:
    return drawn_case()


def image(labels: np.ndarray, noise: float = 0.0) -> np.ndarray:
    shades = SHADES[labels]
    return shades + np.random.default_rng(0).normal(0, noise, shades.shape).astype(np.float32)


def test_noise_and_contrast_are_measured_in_units_of_the_step_from_muscle_to_blood():
    labels = drawn_labels()[0, 2]
    seen = sight(image(labels, noise=14.0), labels, (1.5, 1.5))
    assert seen.noise == pytest.approx(14 / 140, rel=0.15)
    assert seen.contrast == pytest.approx(140 / 14, rel=0.15)
    louder = sight(10 * image(labels, noise=14.0), labels, (1.5, 1.5))
    assert (louder.noise, louder.contrast) == pytest.approx((seen.noise, seen.contrast))


def test_the_width_of_the_edge_is_in_mm():
    labels = drawn_labels()[0, 2]
    fine, coarse = (sight(image(labels), labels, (step, step)).edge_mm for step in (1.0, 2.0))
    assert coarse == pytest.approx(2 * fine)


def test_black_blood_shows_no_contrast():
    labels = drawn_labels()[0, 2]
    seen = sight(300 - image(labels, noise=5.0), labels, (1.5, 1.5))
    assert seen.contrast < 0
    assert seen.noise == float("inf")


def test_where_nothing_is_labelled_the_images_are_not_judged(good):
    nothing = Segmentation(np.zeros_like(good.segmentation.labels))
    case = replace(good, segmentation=nothing)
    findings = (*check_images(case, LIMITS), check_ghosting(case, LIMITS))
    assert len(findings) == 4
    assert all(one.verdict is Verdict.REVIEW for one in findings)
    assert all(one.reason.startswith("not checked") for one in findings)


def test_a_wall_that_lies_apart_from_its_cavity_shows_no_edge():
    labels = np.zeros((60, 60), np.uint8)
    labels[10:20, 10:20], labels[30:40, 30:40] = LV_CAVITY, LV_MYOCARDIUM
    assert sight(image(labels), labels, (1.5, 1.5)) is None


def test_ghosts_count_in_rows_and_columns_of_the_heart_alone():
    labels = drawn_labels(size=128)[[0, 4]]
    ed, es = image(labels)
    assert ghosting(ed, es, labels, (1.5, 1.5)) == 0
    corner, column = es.copy(), es.copy()
    corner[:, :10, :10] += 70
    column[:, :10, 55:70] += 70
    assert ghosting(ed, corner, labels, (1.5, 1.5)) == 0
    assert ghosting(ed, column, labels, (1.5, 1.5)) > 0.05
    assert ghosting(column, ed, labels, (1.5, 1.5)) == ghosting(ed, column, labels, (1.5, 1.5))


def test_without_room_beside_the_heart_ghosts_are_not_judged():
    labels = np.full((2, 1, 20, 20), LV_MYOCARDIUM, dtype=np.uint8)
    labels[:, :, 8:12, 8:12] = LV_CAVITY
    assert ghosting(*image(labels), labels, (1.5, 1.5)) is None


def test_blood_of_the_rv_that_is_left_out_at_es_asks_for_review(good):
    labels = good.segmentation.labels.copy()
    right = labels[good.phases.es] == RV_CAVITY
    columns = np.flatnonzero(right.any(axis=(0, 1)))
    half = right & (np.arange(right.shape[2]) < columns[0] + 0.6 * len(columns))
    labels[good.phases.es][half] = 0
    case = replace(good, segmentation=Segmentation(labels))
    assert check_rv_blood(good, LIMITS).verdict is Verdict.OK
    found = check_rv_blood(case, LIMITS)
    assert (found.verdict, set(found.concerns) & {"rv_ef", "rv_edv"}) == (Verdict.REVIEW, {"rv_ef"})
    left_out = half & (labels[good.phases.ed] == RV_CAVITY)
    assert found.value == pytest.approx(left_out.sum() / (right & ~half).sum())
    dark = replace(case.stack, frames=np.where(labels[good.phases.es] > 0, case.stack.frames, 0))
    assert check_rv_blood(replace(case, stack=dark), LIMITS).verdict is Verdict.OK


@cache
def patient(data: Path) -> tuple:
    return acdc.read_patient(data, PATIENT)


def real_case(data: Path, frames: np.ndarray | None = None) -> CineCase:
    """A real heart with the labels of its experts, its images perhaps replaced."""
    ed, es = patient(data)
    labels = np.stack([ed.labels, es.labels])
    stack = label_stack(
        labels, pixel_spacing_mm=ed.pixel_spacing_mm, slice_spacing_mm=ed.slice_spacing_mm
    )
    shown = np.stack([ed.images, es.images]) if frames is None else frames
    relevant = tuple(np.isin(ed.labels, (LV_CAVITY, LV_MYOCARDIUM)).any(axis=(1, 2)).tolist())
    seen = Relevance(np.ones(len(relevant)), relevant, (0.0, 0.0))
    return CineCase(
        replace(stack, frames=shown),
        relevance=seen,
        phases=Phases(0, 1),
        segmentation=Segmentation(labels),
    )


def judged(case: CineCase) -> dict[str, str]:
    found = (*check_images(case, LIMITS), check_ghosting(case, LIMITS))
    return {one.check: one.verdict for one in found}


def test_images_of_a_real_heart_are_good(real_data):
    assert set(judged(real_case(real_data)).values()) == {Verdict.OK}


@pytest.mark.parametrize(
    ("breakage", "degree", "checks"),
    [
        ("noise", 0.25, {"image_noise"}),
        ("noise", 0.5, {"image_noise", "image_contrast", "image_ghosting"}),
        ("low contrast", 0.02, {"image_sharpness"}),
        ("ghosting", 0.5, {"image_ghosting"}),
        ("blur", 8.0, {"image_sharpness"}),
        ("signal loss", 40.0, {"image_contrast"}),
    ],
)
def test_a_real_heart_in_bad_images_is_noticed(real_data, breakage, degree, checks):
    frames, _, _ = broken(breakage, degree, *patient(real_data))
    found = judged(real_case(real_data, frames))
    assert {check for check, verdict in found.items() if verdict == Verdict.REVIEW} >= checks


def test_the_chain_asks_for_review(good):
    noisy = good.stack.frames + np.random.default_rng(0).normal(0, 60, good.stack.frames.shape)
    case = drawn_case(frames=good.stack.frames)
    assert finding(case, "image_noise").verdict is Verdict.OK
    found = check_images(replace(case, stack=replace(case.stack, frames=noisy)), LIMITS)
    assert [one.verdict for one in found if one.check == "image_noise"] == [Verdict.REVIEW]
