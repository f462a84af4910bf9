"""Augmentation changes appearance and place, never what is labelled."""

import math

import pytest
import torch

from models.training import augment
from models.training.slices import allowed_bits


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


IMAGES = torch.rand((16, 1, 48, 48), generator=generator(5))
ALLOWED = torch.full((16, 1, 48, 48), allowed_bits(0), dtype=torch.uint8)
CHANGES = {
    "transfer_curve": augment.transfer_curve,
    "bias_field": augment.bias_field,
    "noise": augment.noise,
    "low_resolution": augment.low_resolution,
    "blur_or_sharpen": augment.blur_or_sharpen,
    "ghosts": augment.ghosts,
    "change_appearance": lambda images, draws: augment.change_appearance(images, ALLOWED, draws),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_repeatable_finite_and_leaves_some_images_alone_or_not(name):
    once = CHANGES[name](IMAGES, generator(3))
    torch.testing.assert_close(once, CHANGES[name](IMAGES, generator(3)), rtol=0, atol=0)
    assert once.shape == IMAGES.shape
    assert torch.isfinite(once).all()
    assert not torch.equal(once, IMAGES)
    assert not torch.equal(once, CHANGES[name](IMAGES, generator(4)))


def test_a_transfer_curve_keeps_the_order_of_intensities():
    ramp = torch.linspace(0, 1, 256).reshape(1, 1, 16, 16).expand(16, -1, -1, -1)
    curved = augment.transfer_curve(ramp, generator(1)).flatten(1)
    assert (curved.diff(dim=1) >= -1e-6).all()


def test_tissue_contrast_moves_a_structure_as_one():
    allowed = torch.full((32, 1, 48, 48), allowed_bits(0), dtype=torch.uint8)
    allowed[..., 10:30, 10:30] = allowed_bits(1)
    flat = torch.full((32, 1, 48, 48), 0.5)
    shift = augment.tissue_contrast(flat, allowed, generator(2)) - flat
    assert (shift[:, :, 40:, 40:] == 0).all()
    inside = shift[:, 0, 12:28, 12:28].flatten(1)
    assert (inside.std(dim=1) < 1e-6).all()
    assert (inside.abs().amax(dim=1) > 0).sum() >= 3


def test_tissue_contrast_leaves_partly_labelled_images_alone():
    allowed = torch.full((32, 1, 48, 48), allowed_bits(0, 3), dtype=torch.uint8)
    allowed[..., 10:30, 10:30] = allowed_bits(1)
    images = IMAGES.repeat(2, 1, 1, 1)
    torch.testing.assert_close(augment.tissue_contrast(images, allowed, generator()), images)


def test_matrices_turn_mirror_and_scale_within_bounds():
    matrices = [augment.random_matrix(generator(seed), 1.2) for seed in range(300)]
    areas = torch.stack(matrices).det()
    assert (areas < 0).float().mean() == pytest.approx(0.5, abs=0.1)
    assert areas.abs().max() <= 1.2**2 + 1e-5
    assert areas.abs().min() >= 1.2**-2 - 1e-5
    angles = [math.degrees(math.atan2(matrix[1, 0], matrix[0, 0])) for matrix in matrices]
    assert max(angles) > 150
    assert min(angles) < -150
