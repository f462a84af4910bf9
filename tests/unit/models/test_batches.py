"""Batches look like what the service feeds the network."""

import pytest
import torch

from models.preprocess import CropGrid
from models.training.batches import Drawable, plain_batch, random_batch
from models.training.recipes import Recipe

RECIPE = Recipe(
    task="segmentation",
    architecture="unet_2d",
    parameters={"width": 4, "levels": 3, "classes": 4},
    grid=CropGrid(64, 64, 1.5),
    max_shift_mm=10,
    set_shares={"acdc": 0.5, "synthetic": 0.5},
)


@pytest.fixture
def drawable(invented_slices):
    return {name: Drawable.of(invented_slices, name) for name in ("acdc", "synthetic")}


def test_slices_are_sorted_by_set_and_content(drawable):
    assert len(drawable["acdc"].showing) == 6
    assert len(drawable["acdc"].empty) == 1
    assert len(drawable["synthetic"].showing) == 2


def test_a_step_can_be_repeated(drawable):
    draws = [torch.Generator().manual_seed(seed) for seed in (1, 1, 2)]
    one, same, other = (random_batch(drawable, RECIPE, 4, entry) for entry in draws)
    assert torch.equal(one[0], same[0])
    assert torch.equal(one[1], same[1])
    assert not torch.equal(one[0], other[0])


def test_every_pixel_has_a_label_even_beyond_the_image(drawable):
    images, allowed = random_batch(drawable, RECIPE, 16, torch.Generator().manual_seed(0))
    assert images.shape == (16, 1, 64, 64)
    assert allowed.dtype == torch.uint8
    assert (allowed > 0).all()
    assert images.flatten(1).mean(dim=1).abs().max() < 1e-3


def test_image_and_labels_move_together(invented_slices):
    """The LV cavity is bright: labels that moved otherwise would not lie on bright pixels."""
    images, allowed = plain_batch(invented_slices[:4], RECIPE)
    cavity, background = images[:, 0][allowed == 2], images[:, 0][allowed == 1]
    assert cavity.mean() - background.mean() > 1.5


def test_the_share_of_empty_slices_is_as_asked(drawable):
    recipe = Recipe(
        task="segmentation", architecture="unet_2d", parameters={}, grid=CropGrid(32, 32, 3.0),
        max_shift_mm=0, empty_share=1.0, set_shares={"acdc": 1.0},
    )  # fmt: skip
    only = {"acdc": drawable["acdc"]}
    _, allowed = random_batch(only, recipe, 8, torch.Generator().manual_seed(0))
    assert (allowed == 1).all()
