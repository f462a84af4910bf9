"""The losses of the published methods against numbers worked out by hand."""

import math

import pytest
import torch

from models.regression_unet import RegressionOutput
from models.training.regression_task import _boxes
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


def loss_of(output, true_ml, floor_mm2=100.0, boxes_mm=(82.0,)):
    return regression_loss(
        output,
        torch.tensor([true_ml] * len(boxes_mm)),
        torch.tensor([10.0] * len(boxes_mm)),
        torch.tensor(boxes_mm),
        spacing_mm=2.0,
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


def test_each_sample_has_a_box_of_its_own():
    one = disc_output(30.0)
    both = RegressionOutput(one.cam.repeat(2, 1, 1, 1), one.bottleneck.repeat(2, 1, 1, 1, 1))
    apart = [loss_of(one, 28.0, boxes_mm=(box,)) for box in (82.0, 42.0)]
    assert apart[1] > apart[0] + 5
    assert loss_of(both, 28.0, boxes_mm=(82.0, 42.0)) == pytest.approx(sum(apart) / 2, rel=1e-4)


def test_a_map_that_shows_nothing_is_no_way_out_of_tight_boxes():
    """In a box of 82 mm one that is the same everywhere has a volume, and pi."""
    map_of_nothing = torch.full((1, 10, 88, 88), 0.276)
    output = RegressionOutput(map_of_nothing, torch.zeros(1, 2, 10, 3, 3))
    true_ml = 185.0
    tight = _boxes(torch.tensor([true_ml]), 82.0, torch.Generator().manual_seed(0)).item()
    assert tight < 70
    active = 1e-3 * map_of_nothing.sum().item()
    assert loss_of(output, true_ml) - active < 10
    assert loss_of(output, true_ml, boxes_mm=(tight,)) - active > 100


def test_boxes_hold_the_lv_mostly_just_so():
    volumes = torch.tensor([30.0, 140.0, 300.0]).repeat(200)
    boxes = _boxes(volumes, 82.0, torch.Generator().manual_seed(1)).view(200, 3)
    across = 10 * (volumes[:3] * 3 / math.pi).pow(1 / 3)  # of an ellipsoid twice as long as wide
    assert (boxes > across).all()
    assert (boxes <= 82).all()
    tight = (boxes < boxes.amin(dim=0) + 1e-3).float().mean(dim=0)
    assert ((tight > 0.5) & (tight < 0.7)).all()
    assert boxes.max() > 81
