"""Simulated scanner changes: fixed, seeded, and what their names say."""

from dataclasses import replace

import numpy as np
import pytest

from models.training.cases import LabelledVolume
from models.training.scanner_change import APPEARANCE, CHANGES, SPACINGS_MM, scanner_change


def heart(phase, spacing=(1.5, 1.2)):
    """Discs of blood in a ring of muscle, on a background with a gradient."""
    rows, columns = np.mgrid[:80, :100].astype(float)
    radius = np.hypot((rows - 40) * spacing[0], (columns - 50) * spacing[1])
    labels = np.where(radius < 20, 1, np.where(radius < 30, 2, 0)).astype(np.uint8)
    image = np.array([90.0, 200.0, 60.0])[labels] + columns / 4
    return LabelledVolume(
        np.repeat(image[None], 3, 0).astype(np.float32),
        np.repeat(labels[None], 3, 0), spacing, 8.0, "patient010", phase,
    )  # fmt: skip


ED, ES = heart("ed"), heart("es")
NOISE = "noise, blood 10 times as strong"


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_repeatable_changes_the_images_and_keeps_the_heart(name):
    ed, es = scanner_change(name, ED, ES)
    again, _ = scanner_change(name, ED, ES)
    np.testing.assert_array_equal(ed.images, again.images)
    assert (ed.phase, es.phase, ed.patient) == ("ed", "es", "patient010")
    assert ed.images.dtype == np.float32
    assert ed.images.shape == ed.labels.shape == es.images.shape
    assert np.isfinite(ed.images).all()
    area = (ed.labels == 1).sum() * np.prod(ed.pixel_spacing_mm)
    assert area == pytest.approx((ED.labels == 1).sum() * 1.5 * 1.2, rel=0.03)
    blood, muscle = ed.images[ed.labels == 1].mean(), ed.images[ed.labels == 2].mean()
    assert blood > muscle
    if name in APPEARANCE:
        unit = np.clip((ED.images - ED.images.min()) / np.ptp(ED.images), 0, 1)
        assert np.abs(ed.images / 255 - unit).mean() > 0.005


@pytest.mark.parametrize("name", SPACINGS_MM)
def test_another_spacing_covers_the_same_field(name):
    ed, _ = scanner_change(name, ED, ES)
    assert ed.pixel_spacing_mm == (SPACINGS_MM[name],) * 2
    assert ed.images.shape[1] == pytest.approx(80 * 1.5 / SPACINGS_MM[name], abs=1)
    assert ed.images.shape[2] == pytest.approx(100 * 1.2 / SPACINGS_MM[name], abs=1)


def test_low_contrast_keeps_less_than_half_between_blood_and_muscle():
    ed, _ = scanner_change("low contrast", ED, ES)
    before = (ED.images[ED.labels == 1].mean() - ED.images[ED.labels == 2].mean()) / np.ptp(
        ED.images
    )
    after = (ed.images[ED.labels == 1].mean() - ed.images[ED.labels == 2].mean()) / 255
    assert 0.2 < after / before < 0.75


def test_noise_differs_from_patient_to_patient_and_is_as_strong_as_it_says():
    one, _ = scanner_change(NOISE, ED, ES)
    other, _ = scanner_change(NOISE, replace(ED, patient="patient013"), ES)
    assert not np.array_equal(one.images, other.images)
    blood = one.images[ED.labels == 1] / 255
    plain = (ED.images[ED.labels == 1] - ED.images.min()) / np.ptp(ED.images)
    assert plain.mean() / np.std(blood - plain) == pytest.approx(10, rel=0.25)


def test_blur_lowers_the_edge_but_not_the_mean():
    ed, _ = scanner_change("blur 1.5 mm", ED, ES)
    steepest = np.abs(np.diff(ed.images, axis=2)).max() / 255
    assert steepest < 0.5 * np.abs(np.diff(ED.images, axis=2)).max() / np.ptp(ED.images)
