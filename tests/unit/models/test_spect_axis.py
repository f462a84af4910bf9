"""The left ventricle is found where it lies, and not where there is none."""

import numpy as np
import pydicom
import pytest

from models.spect_axis import LEAST_LIKENESS, find_left_ventricle, oriented
from models.synthetic.spect import synthesise_spect
from models.tomogram import Tomogram, blurred


def grid(shape=(40, 52, 52), step=5.0):
    affine = np.diag([step, step, -step, 1.0])
    affine[:3, 3] = np.array([-shape[2], -shape[1], shape[0]]) * step / 2
    return Tomogram(np.zeros(shape, np.float32), affine)


def ball(points, centre, half):
    return (((points - np.array(centre)) / np.array(half)) ** 2).sum(axis=-1) < 1


def scanned(activity, empty):
    mean = 20 * blurred(activity, 9, empty.spacing_mm).clip(0)
    counts = np.random.default_rng(0).poisson(mean).astype(np.float64)
    smooth = blurred(counts, 9, empty.spacing_mm).clip(0)
    return Tomogram(smooth.astype(np.float32), empty.affine)


@pytest.mark.parametrize(("seed", "kind"), [(1, "normal"), (2, "ischemia"), (3, "infarction")])
def test_the_axis_is_that_of_the_heart(seed, kind):
    study = synthesise_spect(seed, kind)
    for view in ("stress", "rest"):
        found = find_left_ventricle(getattr(study, view))
        true = study.ventricles[view]
        apart = (found.base_mm + 0.5 * found.length_mm * found.axis) - (
            true.base_mm + 0.5 * true.length_mm * true.axis
        )
        along = apart @ true.axis
        assert np.linalg.norm(apart - along * true.axis) < 3
        assert abs(along) < 6
        assert np.degrees(np.arccos(found.axis @ true.axis)) < 9
        assert found.radius_mm == pytest.approx(true.radius_mm, abs=2.5)
        assert found.likeness > LEAST_LIKENESS


def test_lateral_is_right_and_anterior_above():
    lv = find_left_ventricle(synthesise_spect(1, "normal").stress)
    assert lv.right[0] > 0.2  # LPS: the lateral wall lies to the patient's left
    assert lv.right[1] > 0.2  # and behind
    assert lv.up[2] > 0.5
    np.testing.assert_allclose(np.cross(lv.right, lv.up), lv.axis, atol=1e-9)


def test_a_mirrored_index_changes_nothing_in_space():
    tomogram = synthesise_spect(4, "normal").rest
    turn = np.eye(4)
    turn[2] = [0, 0, -1, len(tomogram.counts) - 1]
    flipped = Tomogram(np.ascontiguousarray(tomogram.counts[::-1]), tomogram.affine @ turn)
    one, other = find_left_ventricle(tomogram), find_left_ventricle(flipped)
    np.testing.assert_allclose(one.base_mm, other.base_mm, atol=1.5)
    np.testing.assert_allclose(one.axis, other.axis, atol=0.05)


def test_directions_may_be_those_of_another_frame():
    """A tomogram whose third index runs along the axis, with the anterior wall at the first row."""
    study = synthesise_spect(5, "normal")
    true = study.ventricles["stress"]
    steps = np.arange(-70, 71, 5.0)
    z, y, x = np.meshgrid(np.arange(-20, 100, 5.0), steps, steps, indexing="ij")
    points = true.base_mm + z[..., None] * true.axis
    points = points + x[..., None] * true.right - y[..., None] * true.up
    short = Tomogram(study.stress.at(points), np.diag([5.0, 5.0, 5.0, 1.0]))
    found = find_left_ventricle(short, np.array([0, 0, 1.0]), np.array([0, -1.0, 0]))
    assert found.axis[2] > 0.98
    assert found.likeness > LEAST_LIKENESS
    np.testing.assert_allclose(found.base_mm[:2], 70, atol=5)


@pytest.mark.parametrize(
    "organs",
    [
        {},
        {"liver": ((-40, 0, -20), (70, 60, 50))},
        {"left kidney": ((50, 40, 0), (28, 28, 55)), "right kidney": ((-50, 40, 0), (28, 28, 55))},
        {"bladder": ((0, 0, 0), (35, 35, 30))},
        {"gut": ((20, -20, -20), (15, 30, 12)), "stomach": ((50, 0, 10), (25, 20, 20))},
    ],
)
def test_what_is_no_heart_does_not_look_like_one(organs):
    empty = grid()
    points = empty.positions_mm()
    activity = np.full(empty.counts.shape, 0.1)
    for centre, half in organs.values():
        activity[ball(points, centre, half)] = 1
    assert find_left_ventricle(scanned(activity, empty)).likeness < LEAST_LIKENESS


def test_an_empty_or_tiny_tomogram_has_none():
    assert find_left_ventricle(grid()) is None
    assert find_left_ventricle(grid((3, 52, 52))) is None


def test_the_wall_meets_apex_base_and_equator():
    lv = oriented(np.zeros(3), np.array([0, 0, 1.0]), np.array([0, 1.0, 0]))
    np.testing.assert_allclose(lv.wall(np.array(0.3), np.array(0.0)), [0, 0, lv.length_mm])
    assert lv.wall(np.array(0.3), np.array(1.0))[2] == pytest.approx(0, abs=1e-9)
    polar = np.linspace(0, 1, 200)
    across = np.hypot(*np.moveaxis(lv.wall(np.full(200, 1.0), polar)[:, :2], -1, 0))
    assert across.max() == pytest.approx(lv.radius_mm, rel=1e-3)
    outside = lv.wall(np.array(0.0), np.array(0.0), 5.0)
    np.testing.assert_allclose(outside, [0, 0, lv.length_mm + 5])


def test_values_between_voxels_are_linear_and_zero_outside():
    counts = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    tomogram = Tomogram(counts, np.diag([2.0, 3.0, -4.0, 1.0]))
    assert tomogram.at(np.array([2.0, 3.0, -4.0])) == counts[1, 1, 1]
    assert tomogram.at(np.array([1.0, 1.5, -2.0])) == counts[:2, :2, :2].mean()
    assert tomogram.at(np.array([6.1, 0, 0])) == 0
    assert tomogram.at(np.array([0, 0, 0.1])) == 0
    assert tomogram.at(tomogram.positions_mm()).tolist() == counts.tolist()


def test_blurring_has_the_stated_width_and_keeps_the_sum():
    values = np.zeros((1, 1, 201))
    values[0, 0, 100] = 1
    wide = blurred(values, 12.0, (0.5, 1.0, 1.0))[0, 0]
    assert wide.sum() == pytest.approx(1)
    assert 0.5 * np.count_nonzero(wide >= wide.max() / 2) == pytest.approx(12, abs=0.6)


def test_real_tomograms_show_a_left_ventricle_that_looks_left_and_forward(real_data):
    paths = sorted((real_data / "spect").glob("*.dcm"))
    assert len(paths) == 4
    for path in paths:
        dataset = pydicom.dcmread(path)
        affine = np.diag([4.0, 4.0, -4.0, 1.0])
        detector = dataset.DetectorInformationSequence[0]
        affine[:3, 3] = [float(value) for value in detector.ImagePositionPatient]
        found = find_left_ventricle(Tomogram(dataset.pixel_array.astype(np.float32), affine))
        assert found.likeness > LEAST_LIKENESS
        assert found.axis[0] > 0.3
        assert found.axis[1] < -0.5
        assert 20 < found.radius_mm < 32
