"""Losses that ignore what a set does not label.

A pixel's label is the bit set of the classes it may be (see `LabelledSlice.allowed`). Merging the
probabilities of the classes a set does not tell apart follows Shi et al., Marginal loss and
exclusion loss for partially supervised multi-organ segmentation, Medical Image Analysis 2021,
doi:10.1016/j.media.2021.101979.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def class_allowed(allowed: Tensor, classes: int) -> Tensor:
    """Split bit sets [n, y, x] (uint8) into one channel per class; bool [n, classes, y, x]."""
    bits = torch.arange(classes, device=allowed.device, dtype=torch.uint8)[:, None, None]
    return (allowed[:, None] >> bits).bitwise_and(1).bool()


def partial_cross_entropy(logits: Tensor, allowed: Tensor, weights: Sequence[float] = ()) -> Tensor:
    """Mean of -log of the summed probability of the allowed classes.

    Parameters
    ----------
    logits : float tensor [n, classes, y, x]
    allowed : uint8 tensor [n, y, x]
        At least one bit set everywhere.
    weights : sequence of float
        Of each class; a pixel counts by the heaviest class it may be. All alike without.
    """
    log_probabilities = logits.log_softmax(dim=1)
    may_be = class_allowed(allowed, logits.shape[1])
    terms = -log_probabilities.masked_fill(~may_be, -torch.inf).logsumexp(dim=1)
    if not weights:
        return terms.mean()
    counts = (may_be * logits.new_tensor(weights)[:, None, None]).amax(dim=1)
    return (terms * counts).sum() / counts.sum()


def partial_dice_loss(logits: Tensor, allowed: Tensor, weights: Sequence[float] = ()) -> Tensor:
    """One minus the (weighted) mean soft Dice of the classes above 0, over the batch.

    Images in which a class is not told apart from another do not count for that class.
    """
    probabilities = logits.softmax(dim=1)[:, 1:]
    may_be = class_allowed(allowed, logits.shape[1])
    single = may_be.sum(dim=1, keepdim=True) == 1
    target = (may_be & single)[:, 1:]
    decided = (~(may_be & ~single)).flatten(2).all(dim=2)[:, 1:, None, None]
    overlap = (probabilities * target * decided).sum(dim=(0, 2, 3))
    total = ((probabilities + target) * decided).sum(dim=(0, 2, 3))
    dice = (2 * overlap + 1) / (total + 1)
    counts = logits.new_tensor(weights[1:]) if weights else torch.ones_like(dice)
    return 1 - (dice * counts).sum() / counts.sum()


def partial_loss(logits: Tensor, allowed: Tensor, weights: Sequence[float] = ()) -> Tensor:
    """Cross entropy plus soft Dice, both partial."""
    return partial_cross_entropy(logits, allowed, weights) + partial_dice_loss(
        logits, allowed, weights
    )
