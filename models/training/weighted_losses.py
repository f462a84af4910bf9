"""Losses of the published methods, with the weights that their authors give."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from models.regression_unet import RegressionOutput
from models.scanning import scan, volume_ml


def weighted_dice_loss(
    probabilities: Tensor, target: Tensor, weights: Sequence[float], *, over_batch: bool = False
) -> Tensor:
    """One minus the weighted sum of the soft Dice of the classes.

    Sudre et al., Generalised Dice overlap as a deep learning loss function (2017,
    doi:10.1007/978-3-319-67558-9_28), with given weights.

    Parameters
    ----------
    probabilities : float tensor [n, classes, ...]
    target : float or bool tensor [n, classes, ...]
        1 where a position is the class.
    weights : sequence of float
        Per class; they sum to 1.
    over_batch : bool
        Dice over all positions of the batch together, for samples that lack a class. Otherwise
        the mean of the Dice of the samples.
    """
    axes = [axis for axis in range(probabilities.ndim) if axis != 1 and (axis or over_batch)]
    overlap = (probabilities * target).sum(dim=axes)
    total = probabilities.sum(dim=axes) + target.sum(dim=axes)
    dice = (2 * overlap + 1e-5) / (total + 1e-5)
    return 1 - (dice * dice.new_tensor(weights)).sum(dim=-1).mean()


def weighted_cross_entropy(logits: Tensor, target: Tensor, weights: Sequence[float]) -> Tensor:
    """Cross entropy whose terms count by the weight of their true class, over the sum of weights.

    Parameters
    ----------
    logits : float tensor [n, classes, ...]
    target : int64 tensor [n, ...]
        Class of each position.
    weights : sequence of float
        Per class, e.g. 100, 100, 1 for ED, ES and background frames.
    """
    return functional.cross_entropy(logits, target, logits.new_tensor(weights))


def regression_loss(
    output: RegressionOutput,
    true_ml: Tensor,
    slice_spacing_mm: Tensor,
    box_mm: Tensor,
    *,
    spacing_mm: float,
    floor_mm2: float,
) -> Tensor:
    """Mean absolute errors of volume (ml) and, 100-fold, of pi-hat; 1e-3 of the activations.

    The activations are the L1 norms of bottleneck and map, summed over a sample. pi-hat is
    compared on slices whose area is above `floor_mm2`.

    Parameters
    ----------
    output : RegressionOutput
    true_ml, slice_spacing_mm : float tensor [n]
    box_mm : float tensor [n]
        Side of the scanning box of each sample.
    spacing_mm : float
        Of the map's pixels.
    floor_mm2 : float
    """
    scans = [
        scan(one[None], spacing_mm, box)
        for one, box in zip(output.cam, box_mm.tolist(), strict=True)
    ]
    pairs = zip(scans, slice_spacing_mm[:, None], strict=True)
    found_ml = torch.cat([volume_ml(found, spacing) for found, spacing in pairs])
    volume_error = (found_ml - true_ml).abs().mean()
    counted = torch.cat([one.area_mm2 for one in scans]).detach() > floor_mm2
    pi_errors = (torch.cat([one.pi_hat for one in scans]) - math.pi).abs()
    pi_error = (counted * pi_errors).sum() / counted.sum().clamp(min=1)
    activity = output.bottleneck.float().abs().flatten(1).sum(dim=1)
    activity = activity + output.cam.flatten(1).sum(dim=1)
    return volume_error + 100 * pi_error + 1e-3 * activity.mean()


def one_hot(classes: Tensor, count: int) -> Tensor:
    """Classes int64 [n, ...] as bool [n, count, ...]."""
    every = torch.arange(count, device=classes.device)
    return classes[:, None] == every.view(-1, *[1] * (classes.ndim - 1))
