"""The losses of the published methods against numbers worked out by hand."""

import math

import pytest
import torch

from models.regression_unet import RegressionOutput
from models.training.weighted_losses import (
    one_hot,
    regression_loss,
    weighted_cross_entropy,
    weighted_dice_loss,
)

WEIGHTS = (0.45, 0.45, 0.1)


def test_weighted_dice_of_a_sequence():
    target = one_hot(torch.tensor([[0, 2, 1, 2]]), 3)
    certain = target.float()
    assert weighted_dice_loss(certain, target, WEIGHTS).item() == pytest.approx(0, abs=1e-5)
    half = certain.clone()
    half[0, :, 0] = torch.tensor([0.5, 0.0, 0.5])
    # ED: 2*0.5/(1+0.5); ES: 1; background: 2*2/(2+2.5)
    expected = 1 - (0.45 * 2 / 3 + 0.45 + 0.1 * 4 / 4.5)
    assert weighted_dice_loss(half, target, WEIGHTS).item() == pytest.approx(expected, abs=1e-4)


def test_dice_over_the_batch_lets_a_sample_lack_a_class():
    target = one_hot(torch.tensor([[0, 1, 2, 2], [2, 2, 2, 2]]), 3).float()
    spread = 0.9 * target + 0.1 / 3
    apart = weighted_dice_loss(spread, target, WEIGHTS)
    together = weighted_dice_loss(spread, target, WEIGHTS, over_batch=True)
    assert apart > 0.4
    assert together < 0.2


def test_weighted_cross_entropy_counts_ed_and_es_a_hundredfold():
    logits = torch.tensor([[[2.0, 0.0], [0.0, 0.0], [0.0, 1.0]]])
    classes = torch.tensor([[0, 2]])
    first = math.log(math.exp(2) + 2) - 2
    second = math.log(math.exp(1) + 2) - 1
    expected = (100 * first + second) / 101
    found = weighted_cross_entropy(logits, classes, (100, 100, 1))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def disc_output(radius_mm, bottleneck=0.0):
    rows, columns = torch.meshgrid(torch.arange(88), torch.arange(88), indexing="ij")
    distance = torch.hypot(rows - 43.5, columns - 43.5)
    cam = (radius_mm / 2 - distance + 0.5).clamp(0, 1)[None, None]
    return RegressionOutput(cam, torch.full((1, 2, 1, 3, 3), bottleneck))


def loss_of(output, true_ml, floor_mm2=100.0):
    return regression_loss(
        output,
        torch.tensor([true_ml]),
        torch.tensor([10.0]),
        spacing_mm=2.0,
        box_mm=82.0,
        floor_mm2=floor_mm2,
    ).item()


def test_the_regression_loss_is_the_sum_of_its_terms():
    output = disc_output(20.0, bottleneck=5.0)
    area_px = output.cam.sum().item()
    volume = area_px * 4 * 10 / 1000
    diameter_px = output.cam[0, 0].sum(dim=0).max().item()
    roundness = abs(4 * area_px / diameter_px**2 - math.pi)
    expected = 7 + 100 * roundness + 1e-3 * (18 * 5 + area_px)
    assert loss_of(output, volume + 7) == pytest.approx(expected, rel=1e-4)


def test_slices_below_the_floor_need_not_be_round():
    output = disc_output(20.0)
    volume = output.cam.sum().item() * 4 * 10 / 1000
    without = loss_of(output, volume, floor_mm2=5000.0)
    assert without == pytest.approx(1e-3 * output.cam.sum().item(), rel=1e-3)
