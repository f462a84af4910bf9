"""Overlapping windows of slices are averaged."""

import pytest
import torch
from torch import nn

from models.windows import window_probabilities


class Telling(nn.Module):
    """Says of each slice the value of its window's first slice, as the logit of class 1."""

    def forward(self, images):
        value = images[:, :, :1].expand(images.shape)
        return torch.cat([torch.zeros_like(value), value], dim=1)


def stack_of(values):
    return torch.tensor(values)[:, None, None].expand(-1, 4, 5)


def test_a_slice_gets_the_mean_over_its_windows():
    values = [2.0, -1.0, 0.5, 3.0, -2.0]
    found = window_probabilities(Telling(), stack_of(values))[1, :, 0, 0]
    told = torch.tensor(values[:3]).sigmoid()
    expected = [told[0], told[:2].mean(), told.mean(), told[1:].mean(), told[2]]
    torch.testing.assert_close(found, torch.stack(expected))


@pytest.mark.parametrize("slices", [1, 2, 3, 9])
def test_any_number_of_slices_keeps_its_shape_and_sums_to_one(slices):
    found = window_probabilities(Telling(), stack_of([1.0] * slices))
    assert found.shape == (2, slices, 4, 5)
    torch.testing.assert_close(found.sum(dim=0), torch.ones(slices, 4, 5))
