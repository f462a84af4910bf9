import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.case import LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY
from pipeline.stages.masks import clean_labels, elongation, largest_bodies, open_ring_share
from tests.unit.pipeline.cine_cases import drawn_labels

SPACING = (1.5, 1.5)


@pytest.fixture
def heart():
    return drawn_labels(phases=3, slices=6, es=1)


def test_a_plausible_heart_is_left_as_it_is(heart):
    assert np.array_equal(clean_labels(heart, SPACING), heart)


@pytest.mark.parametrize("code", [LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY])
def test_pieces_elsewhere_go(heart, code):
    broken = heart.copy()
    broken[1, 2, 2:12, 80:92] = code
    broken[2, 0, 85:95, 40:60] = code
    assert np.array_equal(clean_labels(broken, SPACING), heart)


def test_a_piece_that_hangs_on_through_another_slice_goes(heart):
    broken = heart.copy()
    broken[0, 2, 47, 47:90] = LV_MYOCARDIUM  # a bridge in this slice ...
    broken[0, 3, 40:44, 84:90] = LV_MYOCARDIUM
    broken[0, 2, 40:48, 84:90] = LV_MYOCARDIUM  # ... carries an island of the next
    assert not clean_labels(broken, SPACING)[0, 3, 40:44, 84:90].any()


def test_papillary_muscles_count_to_the_cavity_and_gaps_to_the_myocardium(heart):
    broken = heart.copy()
    broken[0, 2, 44:47, 44:47] = LV_MYOCARDIUM
    broken[0, 2, 50:52, 44:46] = 0
    assert np.all(heart[0, 2, 47, 65:68] == LV_MYOCARDIUM)
    broken[0, 2, 47, 66] = 0
    assert np.array_equal(clean_labels(broken, SPACING), heart)


def test_a_body_of_one_phase_does_not_hold_on_to_another_phase(heart):
    """Volumes are numbered in one call; phases must stay apart."""
    mask = np.zeros((2, 2, 5, 5), dtype=bool)
    mask[0, 1, 0, 0] = True  # last slice of the first volume, alone beside a larger body
    mask[0, 1, 3:, 3:] = True
    mask[1, 0, 0, :] = True  # first slice of the second volume
    kept = largest_bodies(mask)
    assert not kept[0, 1, 0, 0]
    assert kept[0, 1, 3:, 3:].all()
    assert kept[1, 0, 0].all()


def test_the_rv_is_the_body_that_reaches_the_lv(heart):
    broken = heart.copy()
    broken[:, :, :, 75:] = RV_CAVITY  # larger, and far from the LV
    cleaned = clean_labels(broken, SPACING)
    assert np.array_equal(cleaned == RV_CAVITY, heart == RV_CAVITY)


def test_a_thin_crescent_that_thick_slices_cut_apart_is_kept(heart):
    labels = np.where(heart == RV_CAVITY, 0, heart).astype(np.uint8)
    edge = int(np.argmax(labels[0, 2, 47] > 0))
    labels[0, 2, 40:56, edge - 3 : edge - 1] = RV_CAVITY
    labels[0, 3, 40:56, edge : edge + 2] = RV_CAVITY
    assert not np.any((labels[0, 2] == RV_CAVITY) & (labels[0, 3] == RV_CAVITY))
    assert np.array_equal(clean_labels(labels, SPACING), labels)


def test_empty_maps_stay_empty(heart):
    assert not clean_labels(np.zeros_like(heart), SPACING).any()
    only_right = np.where(heart == RV_CAVITY, heart, 0).astype(np.uint8)
    assert not clean_labels(only_right, SPACING).any()


def test_a_mask_at_the_border_of_the_image(heart):
    cut = np.ascontiguousarray(heart[:, :, 40:, :])
    assert np.array_equal(clean_labels(cut, SPACING), cut)


def pieces(mask):
    """Number of connected pieces of one slice."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    return int(sitk.GetArrayFromImage(sitk.ConnectedComponent(image)).max())


@settings(max_examples=25, deadline=None)  # its time hangs on the load of the machine
@given(st.integers(0, 2**32 - 1))
def test_whatever_the_network_gives_each_slice_has_one_lv_without_holes(seed):
    noise = np.random.default_rng(seed).integers(0, 4, (2, 3, 14, 14)).astype(np.uint8)
    cleaned = clean_labels(noise, SPACING)
    left = np.isin(cleaned, (LV_CAVITY, LV_MYOCARDIUM)).reshape(-1, 14, 14)
    assert all(pieces(mask) <= 1 for mask in left)
    assert all(pieces(np.pad(~mask, 1, constant_values=True)) == 1 for mask in left)
    assert np.all(noise[cleaned == RV_CAVITY] == RV_CAVITY)


def disc(height_mm, width_mm, spacing):
    y, x = np.mgrid[:120, :120] - 59.5
    return np.hypot(y * spacing[0] / height_mm, x * spacing[1] / width_mm) < 0.5


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.8, 1.6)])
@pytest.mark.parametrize(("height", "width", "ratio"), [(60, 60, 1), (80, 40, 2), (30, 75, 2.5)])
def test_elongation_is_measured_in_mm(spacing, height, width, ratio):
    assert elongation(disc(height, width, spacing), spacing) == pytest.approx(ratio, rel=0.02)


def test_a_line_is_infinitely_long():
    line = np.zeros((9, 9), dtype=bool)
    line[4] = True
    assert elongation(line, SPACING) == float("inf")


def test_open_share_of_a_ring(heart):
    labels = heart[0, 2]
    assert open_ring_share(labels) == 0
    half = labels.copy()
    half[:48][labels[:48] == LV_MYOCARDIUM] = 0
    assert open_ring_share(half) == pytest.approx(0.5, abs=0.03)
    assert open_ring_share(np.where(labels == LV_MYOCARDIUM, 0, labels)) == 1
    assert open_ring_share(np.zeros_like(labels)) == 0
