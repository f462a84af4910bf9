"""The sheet of a perfusion study, and what is taken away from captures."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.perfusion_classifier import network_input
from models.spect_axis import oriented
from models.spect_sheet import (
    SIDE,
    coloured,
    polar_map,
    sheet,
    short_axis,
    without_small_marks,
)
from models.tomogram import Tomogram


@pytest.fixture(scope="module")
def ventricle():
    return oriented(np.zeros(3), np.array([0, 0, 1.0]), np.array([0, 1.0, 0]))


def drawn(lv, dark=None):
    """A wall of 100 counts; a place (angle, polar) of it is dark."""
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    affine[:3, 3] = (-60, -60, -30)
    empty = Tomogram(np.zeros((26, 25, 25), np.float32), affine)
    points = empty.positions_mm()
    counts = empty.counts
    around, along = np.meshgrid(np.arange(48) * np.pi / 24, np.linspace(0, 1, 30))
    wall = lv.wall(around, along).reshape(-1, 3)
    value = np.full(around.shape, 100.0)
    if dark:
        turn = (around - dark[0] + np.pi) % (2 * np.pi) - np.pi
        value[(np.abs(turn) < 0.6) & (np.abs(along - dark[1]) < 0.2)] = 20
    near = np.array(
        [((wall - place) ** 2).sum(axis=-1).argmin() for place in points.reshape(-1, 3)]
    )
    apart = np.linalg.norm(wall[near] - points.reshape(-1, 3), axis=-1)
    counts = np.where(apart < 7, value.ravel()[near], 5).reshape(counts.shape)
    return Tomogram(counts.astype(np.float32), affine)


@pytest.fixture(scope="module")
def whole(ventricle):
    return drawn(ventricle)


@pytest.fixture(scope="module")
def lateral(ventricle):
    """With a dark lateral wall."""
    return drawn(ventricle, (0.0, 0.6))


def brightness(picture):
    return picture.astype(float).sum(axis=-1)


def test_a_sheet_has_stress_above_rest_and_both_maps(ventricle, whole, lateral):
    picture = sheet((lateral, ventricle), (whole, ventricle))
    assert picture.shape == (SIDE, SIDE, 3)
    assert picture.dtype == np.uint8
    grey = brightness(picture)
    stress, rest = grey[:56], grey[56:112]
    assert rest.sum() > 1.03 * stress.sum()
    assert np.abs(grey[:, :][112:, 112:] - grey[112:, :112]).max() > 300
    same = brightness(sheet((whole, ventricle), (whole, ventricle)))
    np.testing.assert_array_equal(same[:56], same[56:112])
    np.testing.assert_array_equal(same[112:, :112], same[112:, 112:])


def test_lateral_is_right_in_slices_and_in_the_map(ventricle, lateral):
    slice_, map_ = short_axis(lateral, ventricle, 0.4), polar_map(lateral, ventricle)
    assert slice_[28, 28:].max() < 40
    assert slice_[28, :28].max() > 90
    assert map_[56, 90] < 40
    assert map_[56, 22] > 90


def test_anterior_is_above(ventricle):
    anterior = drawn(ventricle, (np.pi / 2, 0.6))
    picture = polar_map(anterior, ventricle)
    assert picture[28, 56] < 40
    assert picture[-28, 56] > 90


def test_slices_run_from_the_apex_to_the_base(ventricle, whole):
    picture = brightness(sheet((whole, ventricle), (whole, ventricle)))
    widths = [np.ptp(np.nonzero(tile[28] > 250)[0]) for tile in np.split(picture[:56], 4, axis=1)]
    assert widths == sorted(widths)
    assert widths[-1] > widths[0] + 5


def test_a_bright_organ_beside_the_wall_does_not_dim_it(ventricle, whole):
    before = sheet((whole, ventricle), (whole, ventricle))
    counts = whole.counts.copy()
    counts[:, :4] = 5000
    after = sheet((replace(whole, counts=counts), ventricle), (whole, ventricle))
    middle = (slice(20, 36), slice(0, 224))
    np.testing.assert_array_equal(before[middle], after[middle])


def test_scale_does_not_matter_and_each_view_has_its_own(ventricle, whole):
    weak = replace(whole, counts=whole.counts * np.float32(0.01))
    np.testing.assert_allclose(
        sheet((weak, ventricle), (whole, ventricle)).astype(int),
        sheet((whole, ventricle), (whole, ventricle)).astype(int),
        atol=1,
    )


def test_colours_get_brighter_from_black_to_white():
    ramp = coloured(np.linspace(-0.2, 1.2, 50))
    assert ramp[0].tolist() == [0, 0, 0]
    assert ramp[-1].tolist() == [255, 255, 255]
    assert (np.diff(ramp.astype(int), axis=0) >= 0).all()
    assert coloured(np.array(0.5)).tolist() == [255, 128, 0]


def test_the_input_of_a_sheet_is_the_sheet_from_zero_to_one():
    picture = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    made = network_input(picture)
    assert made.shape == (3, SIDE, SIDE)
    assert made.dtype == torch.float32
    np.testing.assert_allclose(made.permute(1, 2, 0).numpy() * 255, picture, atol=1e-3)


def test_a_picture_of_another_shape_keeps_its_aspect_between_dark_margins():
    made = network_input(np.full((100, 400, 3), 255, np.uint8))
    assert made.shape == (3, SIDE, SIDE)
    lit = (made[0] > 0.5).numpy()
    assert lit.any(axis=0).all()
    assert np.count_nonzero(lit.any(axis=1)) == pytest.approx(56, abs=1)
    assert made[:, :80].max() == 0


def capture(background=0):
    """A display of two pictures with lettering above, between and below them."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (640, 480), (background,) * 3)
    draw = ImageDraw.Draw(image)
    draw.text((20, 10), "DOE^JANE 1950-01-01 F", fill=(255, 255, 255))
    draw.text((300, 230), "ID 4711", fill=(255, 255, 0))
    draw.text((20, 460), "Hospital of Nowhere", fill=(255, 255, 255))
    draw.ellipse((60, 80, 260, 280), fill=(255, 90, 0))
    draw.ellipse((360, 180, 560, 400), fill=(255, 200, 30))
    return np.asarray(image)


@pytest.mark.parametrize("background", [0, 130])
def test_lettering_is_taken_from_a_capture_and_pictures_stay(background):
    cleaned = without_small_marks(capture(background))
    assert cleaned.shape == (321, 501, 3)
    colours = {tuple(colour) for colour in cleaned.reshape(-1, 3).tolist()}
    assert colours == {(0, 0, 0), (255, 90, 0), (255, 200, 30)}
    assert cleaned[100, 100].tolist() == [255, 90, 0]


def test_a_capture_of_nothing_but_letters_is_refused():
    page = capture()
    page = (
        np.where((page == (255, 90, 0)).all(-1) | (page == (255, 200, 30)).all(-1), 0, 1)[..., None]
        * page
    )
    with pytest.raises(ValueError, match="no picture"):
        without_small_marks(page.astype(np.uint8))
    with pytest.raises(ValueError, match="no picture"):
        without_small_marks(np.zeros((100, 100, 3), np.uint8))
