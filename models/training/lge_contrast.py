"""Cine slices in the contrast of late gadolinium enhancement, for anatomy that no LGE set labels.

Cine slices show what LGE sets lack: labelled right ventricles, slices beyond the LV, known
spacing. Intensities follow a random curve of one of two families (magnitude, or phase-sensitive
with grey for no signal); where the heart is labelled, myocardium may also be nulled and blood
brightened by the labels. Slices with and without LV get the same curves, so that contrast alone
does not tell them apart. Nothing here makes a scar.
"""

import torch
from torch import Generator, Tensor
from torch.nn import functional

from models.training.augment import uniform
from models.training.losses import class_allowed

# Range of the new value at each old one: air and lung, muscle, between, blood, fat.
_MAGNITUDE = ((0.0, 0.1), (0.0, 0.2), (0.02, 0.3), (0.2, 0.7), (0.35, 0.9), (0.6, 1.0))
_SENSITIVE = ((-0.04, 0.04), (-0.15, 0.0), (-0.08, 0.12), (0.03, 0.25), (0.08, 0.4), (0.2, 0.55))
_BY_LABELS = 0.6  # share of the labelled slices whose heart is recoloured too


def as_lge(image: Tensor, allowed: Tensor, inside: Tensor, generator: Generator) -> Tensor:
    """Turn one cine slice and its neighbours to LGE contrast.

    Parameters
    ----------
    image : float tensor [1, c, y, x]
        In 0 to 1.
    allowed : uint8 tensor [1, c, y, x]
        Classes of the cine sets, as bits.
    inside : bool tensor [1, 1, y, x]
        Where the scanned image is; outside stays black.
    generator : Generator

    Returns
    -------
    float tensor [1, c, y, x]
        In 0 to 1.
    """
    grey = uniform(0.25, 0.55, generator) if uniform(0, 1, generator) < 0.6 else 0.0
    ranges = _SENSITIVE if grey else _MAGNITUDE
    curve = torch.tensor([grey + uniform(low, high, generator) for low, high in ranges])
    changed = _through(curve, image)
    if uniform(0, 1, generator) < _BY_LABELS:
        changed = _recoloured(changed, allowed, curve, generator)
    rough = uniform(0.0, 0.03, generator) * (1 + 2 * (1 - image))
    changed = changed + rough * torch.randn(image.shape, generator=generator)
    return changed.clamp(0, 1) * inside


def _through(curve: Tensor, image: Tensor) -> Tensor:
    """Image through a polyline whose knots lie evenly from 0 to 1."""
    position = (image * (len(curve) - 1)).clamp(0, len(curve) - 1.001)
    index = position.long()
    return curve[index] + (curve[index + 1] - curve[index]) * (position - index)


def _recoloured(image: Tensor, allowed: Tensor, curve: Tensor, generator: Generator) -> Tensor:
    """Null the labelled myocardium and brighten the labelled blood, edges soft, texture kept."""
    cavity, wall, right = class_allowed(allowed.flatten(0, 1), 4)[:, 1:].float().unbind(dim=1)
    myocardium = float(curve[1]) + uniform(-0.06, 0.04, generator)
    blood = float(curve[3]) + uniform(0.0, 0.25, generator)
    for mask, level in ((wall, myocardium), (cavity + right, blood)):
        soft = functional.avg_pool2d(mask[:, None], 3, stride=1, padding=1).view(image.shape)
        image = image * (1 - soft) + soft * (level + 0.35 * (image - level))
    return image
