"""The scanning module on maps whose areas and diameters are known."""

import math

import numpy as np
import pytest
import torch

from models.scanning import box_pixels, explanation_mask, scan, volume_ml


def discs(radii_mm, spacing_mm=2.0, size=88, centre=(40.3, 47.8)):
    """Soft-edged discs, one per slice; float [1, z, y, x]."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    distance = torch.hypot(rows - centre[0], columns - centre[1])
    maps = [(radius / spacing_mm - distance + 0.5).clamp(0, 1) for radius in radii_mm]
    return torch.stack(maps)[None]


@pytest.mark.parametrize("spacing_mm", [1.0, 2.0])
def test_a_disc_has_its_area_its_diameter_and_pi(spacing_mm):
    found = scan(discs([12.0, 20.0, 30.0], spacing_mm), spacing_mm)
    for index, radius in enumerate([12.0, 20.0, 30.0]):
        assert found.area_mm2[0, index] == pytest.approx(math.pi * radius**2, rel=0.01)
        assert found.diameter_mm[0, index] == pytest.approx(2 * radius, rel=0.03)
        assert found.pi_hat[0, index] == pytest.approx(math.pi, rel=0.06)


def test_a_square_and_a_ring_are_not_round():
    maps = torch.zeros(1, 2, 88, 88)
    maps[0, 0, 30:50, 30:50] = 1
    big, small = discs([30.0])[0, 0], discs([24.0])[0, 0]
    maps[0, 1] = big - small
    found = scan(maps, 2.0)
    assert found.pi_hat[0, 0] == pytest.approx(4.0, rel=1e-3)
    assert abs(float(found.pi_hat[0, 1]) - math.pi) > 0.5


def test_the_diameter_is_the_mean_of_both_directions():
    maps = torch.zeros(1, 1, 88, 88)
    maps[0, 0, 30:40, 20:50] = 1
    assert scan(maps, 2.0).diameter_mm.item() == pytest.approx(40.0)


def test_what_lies_outside_the_box_does_not_count():
    maps = discs([15.0])
    far = maps.clone()
    far[0, 0, 2:6, 2:6] = 1
    assert scan(far, 2.0).area_mm2.item() == pytest.approx(scan(maps, 2.0).area_mm2.item())


def test_a_box_of_50_mm_clips_a_dilated_heart_and_the_default_does_not():
    maps = discs([38.0])
    true = math.pi * 38**2
    assert scan(maps, 2.0, box_mm=50).area_mm2.item() < 0.6 * true
    assert scan(maps, 2.0).area_mm2.item() == pytest.approx(true, rel=0.01)


def test_the_default_box_is_41_pixels_of_2_mm():
    assert box_pixels(82.0, 2.0) == 41
    assert box_pixels(50.0, 2.0) == 25
    assert box_pixels(80.0, 2.0) == 41
    assert box_pixels(82.0, 1.5) == 55


def test_volume_is_area_times_slice_spacing():
    found = scan(torch.cat([discs([20.0, 20.0]), discs([10.0, 20.0])]), 2.0)
    volumes = volume_ml(found, torch.tensor([10.0, 5.0]))
    disc = math.pi * 400
    expected = [2 * disc * 10 / 1000, 1.25 * disc * 5 / 1000]
    assert volumes.tolist() == pytest.approx(expected, rel=0.01)


def test_volume_and_roundness_can_be_differentiated():
    maps = discs([20.0]).requires_grad_()
    volume_ml(scan(maps, 2.0), torch.tensor([10.0])).sum().backward()
    assert maps.grad[0, 0, 40, 48].item() == pytest.approx(0.04)
    maps.grad = None
    scan(maps, 2.0).pi_hat.sum().backward()
    assert maps.grad.isfinite().all()
    assert maps.grad[0, 0, 36, 44] > 0 > maps.grad[0, 0, 40, 48]


def test_an_empty_map_has_no_volume_and_finite_gradients():
    maps = torch.zeros(1, 2, 88, 88, requires_grad=True)
    found = scan(maps, 2.0)
    assert volume_ml(found, torch.tensor([10.0])).item() == 0
    found.pi_hat.sum().backward()
    assert maps.grad.isfinite().all()


def test_the_explanation_is_the_largest_object_at_the_threshold():
    cam = discs([20.0, 20.0])[0].numpy()
    cam[0, 2:8, 2:8] = 0.95
    cam[1, 70:80, 10:20] = 0.89
    mask = explanation_mask(cam)
    expected = cam >= 0.9
    expected[0, 2:8, 2:8] = False
    np.testing.assert_array_equal(mask, expected)


def test_the_dilation_grows_each_slice_by_two_pixels_and_no_neighbour():
    cam = np.zeros((3, 40, 40), dtype=np.float32)
    cam[1, 15:20, 15:25] = 1
    expected = np.zeros(cam.shape, dtype=bool)
    expected[1, 13:22, 13:27] = True
    np.testing.assert_array_equal(explanation_mask(cam, dilate=True), expected)


def test_nothing_above_the_threshold_leaves_the_explanation_empty():
    assert not explanation_mask(np.full((2, 16, 16), 0.8, dtype=np.float32)).any()
