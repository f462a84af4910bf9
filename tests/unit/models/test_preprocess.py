"""Crops there and back."""

import numpy as np
import pytest
import torch

from models.preprocess import CropGrid, clip_to_unit, crop, normalise, restore

GRID = CropGrid(rows=96, columns=96, spacing_mm=1.5)


def blob(shape, spacing, centre, radius_mm):
    rows = (np.arange(shape[0]) - centre[0])[:, None] * spacing[0]
    columns = (np.arange(shape[1]) - centre[1])[None] * spacing[1]
    return torch.from_numpy(rows**2 + columns**2 <= radius_mm**2)[None, None].float()


def test_a_point_lands_where_physics_says():
    spacing, centre = (2.0, 1.0), (40.0, 70.0)
    image = torch.zeros(1, 1, 90, 150)
    image[0, 0, 46, 79] = 1  # 12 mm below and 9 mm right of the centre
    found = crop(image, spacing, centre, CropGrid(65, 65, 1.0))
    assert divmod(int(found.argmax()), 65) == (32 + 12, 32 + 9)


@pytest.mark.parametrize("spacing", [(1.5, 1.5), (0.8, 1.9), (2.1, 0.9)])
@pytest.mark.parametrize("centre", [(50.0, 60.0), (47.3, 61.8)])
def test_a_crop_comes_back_to_the_pixels_it_came_from(spacing, centre):
    shape = (100, 130)
    truth = blob(shape, spacing, centre, radius_mm=30)
    values, window = restore(crop(truth, spacing, centre, GRID), GRID, shape, spacing, centre)
    found = torch.zeros_like(truth)
    found[:, :, window[0], window[1]] = (values > 0.5).float()
    missed = (found != truth).sum() / truth.sum()
    assert missed < 0.02


@pytest.mark.parametrize("spacing", [(1.2, 2.3), (0.7, 0.7)])
def test_restore_inverts_crop_exactly_for_a_ramp(spacing):
    """A ramp is reproduced by linear interpolation, so every pixel must come back as it was."""
    shape, centre = (80, 60), (33.4, 28.9)
    rows, columns = torch.meshgrid(torch.arange(80.0), torch.arange(60.0), indexing="ij")
    image = (3 * rows - 2 * columns + 500)[None, None]
    grid = CropGrid(24, 20, 1.1)
    values, window = restore(crop(image, spacing, centre, grid), grid, shape, spacing, centre)
    assert values.numel() > 100
    torch.testing.assert_close(values, image[:, :, window[0], window[1]], rtol=0, atol=0.01)


def test_a_crop_beyond_the_image_is_zero_and_restores_to_what_overlaps():
    image = torch.ones(1, 1, 40, 40)
    cropped = crop(image, (1.0, 1.0), (0.0, 0.0), CropGrid(21, 21, 1.0))
    assert cropped[0, 0, :10].max() < 1e-5
    _, window = restore(cropped, CropGrid(21, 21, 1.0), (40, 40), (1.0, 1.0), (0.0, 0.0))
    assert window == (slice(0, 11), slice(0, 11))


def test_a_crop_wholly_outside_restores_nothing():
    grid = CropGrid(9, 9, 1.0)
    cropped = torch.ones(2, 4, 9, 9)
    values, window = restore(cropped, grid, (40, 40), (1.0, 1.0), (-100.0, 300.0))
    assert values.numel() == 0
    assert np.zeros((40, 40))[window].size == 0


def test_supersampling_averages_what_a_coarse_grid_would_skip():
    stripes = (torch.arange(90) % 2).float().expand(1, 1, 90, 90)
    coarse = crop(stripes, (1.0, 1.0), (44.5, 44.5), CropGrid(16, 16, 3.0, supersample=6))
    assert (coarse - 0.5).abs().max() < 0.2


def test_nearest_keeps_labels_whole():
    labels = torch.randint(0, 4, (1, 1, 50, 50)).float()
    found = crop(labels, (1.3, 0.9), (25.2, 24.1), GRID, mode="nearest")
    assert set(found.unique().tolist()) <= {0.0, 1.0, 2.0, 3.0}


def test_normalised_images_do_not_know_their_scale():
    image = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(normalise(image), normalise(image * 900 + 37), rtol=1e-3, atol=1e-3)
    assert normalise(image).mean().abs() < 1e-3


def test_one_bright_pixel_changes_little():
    image = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    bright = image.clone()
    bright[0, 0, 5, 5] = 1e6
    assert (normalise(image) - normalise(bright)).abs()[0, 0, 6:].max() < 0.01


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_a_constant_image_stays_finite(value):
    constant = torch.full((2, 1, 32, 32), value)
    assert torch.isfinite(normalise(constant)).all()
    assert torch.isfinite(clip_to_unit(constant)).all()
