"""Batches look like what the service feeds the network."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.preprocess import CropGrid
from models.training.slice_task import SliceSampling, SliceTask, plain_batch, with_neighbours

SAMPLING = SliceSampling(
    CropGrid(64, 64, 1.5), max_shift_mm=10, set_shares={"acdc": 0.5, "synthetic": 0.5}
)


@pytest.fixture
def task(invented_slices):
    return SliceTask(SAMPLING, invented_slices, invented_slices[:2])


def test_slices_are_sorted_by_set_and_content(task):
    assert len(task.sets["acdc"].showing) == 6
    assert len(task.sets["acdc"].empty) == 1
    assert len(task.sets["synthetic"].showing) == 2


def test_a_step_can_be_repeated(task):
    draws = [torch.Generator().manual_seed(seed) for seed in (1, 1, 2)]
    one, same, other = (task.random_batch(4, entry) for entry in draws)
    assert torch.equal(one[0], same[0])
    assert torch.equal(one[1][0], same[1][0])
    assert not torch.equal(one[0], other[0])


def test_every_pixel_has_a_label_even_beyond_the_image(task):
    images, (allowed,) = task.random_batch(16, torch.Generator().manual_seed(0))
    assert images.shape == (16, 1, 64, 64)
    assert allowed.dtype == torch.uint8
    assert (allowed > 0).all()
    assert images.flatten(1).mean(dim=1).abs().max() < 1e-3


def test_image_and_labels_move_together(invented_slices):
    """The LV cavity is bright: labels that moved otherwise would not lie on bright pixels."""
    images, allowed = plain_batch(with_neighbours(invented_slices[:4], 0), SAMPLING.grid)
    cavity, background = images[:, 0][allowed == 2], images[:, 0][allowed == 1]
    assert cavity.mean() - background.mean() > 1.5


def test_the_share_of_empty_slices_is_as_asked(invented_slices):
    sampling = SliceSampling(
        CropGrid(32, 32, 3.0), max_shift_mm=0, empty_share=1.0, set_shares={"acdc": 1.0}
    )
    task = SliceTask(sampling, invented_slices, invented_slices[:2])
    _, (allowed,) = task.random_batch(8, torch.Generator().manual_seed(0))
    assert (allowed == 1).all()


def stack_of(invented_slices):
    return [replace(invented_slices[index], position=index) for index in range(4)]


def test_a_slice_is_seen_between_its_neighbours(invented_slices):
    stack = stack_of(invented_slices)
    one, two, three, four = stack
    assert with_neighbours(stack, 1) == ((one, one, two), (one, two, three), (two, three, four),
                                         (three, four, four))  # fmt: skip
    other = replace(two, patient="patient002")
    assert with_neighbours([one, other, three], 1) == ((one,) * 3, (other,) * 3, (three,) * 3)


def test_the_labels_of_a_crop_are_those_of_its_middle_slice(invented_slices):
    stack = stack_of(invented_slices)
    images, allowed = plain_batch(with_neighbours(stack, 1), SAMPLING.grid)
    alone, truth = plain_batch(with_neighbours(stack, 0), SAMPLING.grid)
    assert images.shape == (4, 3, 64, 64)
    assert torch.equal(images[:, 1], alone[:, 0])
    assert torch.equal(allowed, truth)


def test_labels_known_to_lie_displaced_are_moved_back(invented_slices):
    """A mask written two pixels too far down and right is read where it belongs."""
    entry = replace(invented_slices[0], pixel_spacing_mm=(1.5, 1.5))
    displaced = replace(
        entry, allowed=np.roll(entry.allowed, (2, 2), axis=(0, 1)), label_shift_px=2.0
    )
    groups = with_neighbours([entry], 0), with_neighbours([displaced], 0)
    (_, truth), (_, moved) = (plain_batch(group, SAMPLING.grid) for group in groups)
    assert torch.equal(truth, moved)
