"""Augmentation that carries across scanners: geometry, contrast, field, noise, resolution.

Geometry acts while the crop is laid (`random_matrix`); the rest on batches of cropped images
`[n, c, y, x]` in 0 to 1, the channels neighbouring slices that one scan changes alike. Every draw
comes from the generator given, so a step can be repeated.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Generator, Tensor
from torch.nn import functional

from models.training.losses import class_allowed

Entry = TypeVar("Entry")


def uniform(low: float, high: float, generator: Generator) -> float:
    """One draw from [low, high)."""
    return low + (high - low) * float(torch.rand((), generator=generator))


def one_of(entries: Sequence[Entry], generator: Generator) -> Entry:
    """One entry, each as likely."""
    return entries[int(torch.randint(len(entries), (), generator=generator))]


def moved(
    place_yx: tuple[float, float],
    pixel_spacing_mm: tuple[float, float],
    reach_mm: float,
    generator: Generator,
) -> tuple[float, float]:
    """A place (row, column) in pixels, moved by at most `reach_mm` along each axis."""
    row, column = (
        place + uniform(-reach_mm, reach_mm, generator) / spacing
        for place, spacing in zip(place_yx, pixel_spacing_mm, strict=True)
    )
    return row, column


def each_channel(change: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Apply a function of images [n, 1, y, x] to every channel of [n, c, y, x] by itself."""
    return change(images.flatten(0, 1)[:, None]).view(images.shape)


def _per_image(images: Tensor, low: float, high: float, generator: Generator) -> Tensor:
    draws = torch.rand((len(images), 1, 1, 1), generator=generator)
    return low + (high - low) * draws


def _sometimes(changed: Tensor, images: Tensor, share: float, generator: Generator) -> Tensor:
    """Take the changed image for a share of the batch, the unchanged one otherwise."""
    chosen = torch.rand((len(images), 1, 1, 1), generator=generator) < share
    return torch.where(chosen, changed, images)


def random_matrix(
    generator: Generator, scale: float, *, turned: float = 0.4, mirrored: float = 0.5
) -> Tensor:
    """Rotation, mirror, scale and shear of offsets (y, x) in mm; float [2, 2].

    Parameters
    ----------
    generator : Generator
    scale : float
        Largest factor by which an axis grows or shrinks.
    turned, mirrored : float
        Share of draws at any angle, the others within half a radian; share of mirrored ones.
    """
    if uniform(0, 1, generator) < turned:
        angle = uniform(-math.pi, math.pi, generator)
    else:
        angle = uniform(-0.5, 0.5, generator)
    common = scale ** uniform(-1, 1, generator)
    stretch = scale ** (0.4 * uniform(-1, 1, generator))
    shear = uniform(-0.15, 0.15, generator)
    mirror = -1.0 if uniform(0, 1, generator) < mirrored else 1.0
    cos, sin = math.cos(angle), math.sin(angle)
    rotation = torch.tensor([[cos, -sin], [sin, cos]])
    form = torch.tensor([[common * stretch, shear], [0.0, mirror * common / stretch]])
    return rotation @ form


def transfer_curve(images: Tensor, generator: Generator) -> Tensor:
    """Gamma, then a monotone polyline through five random knots: another contrast."""
    curved = images ** torch.exp(_per_image(images, -0.7, 0.7, generator))
    steps = torch.rand((len(images), 4), generator=generator) + 0.25
    knots = functional.pad((steps / steps.sum(1, keepdim=True)).cumsum(1), (1, 0))
    position = (curved * 4).clamp(0, 3.999)
    index = position.long()
    rows = torch.arange(len(images))[:, None, None, None]
    low, high = knots[rows, index], knots[rows, index + 1]
    mapped = low + (high - low) * (position - index)
    return _sometimes(mapped, _sometimes(curved, images, 0.6, generator), 0.3, generator)


def tissue_contrast(images: Tensor, allowed: Tensor, generator: Generator) -> Tensor:
    """Brighten or darken blood and myocardium by their labels (domain randomisation).

    Both cavities move together but for a little; edges stay soft. Slices whose structures are
    not all labelled stay as they are.

    Parameters
    ----------
    images : float tensor [n, c, y, x]
    allowed : uint8 tensor [n, c, y, x]
    generator : Generator
    """
    may_be = class_allowed(allowed.flatten(0, 1), 4)
    known = (may_be.sum(dim=1) == 1).flatten(1).all(dim=1).view(*images.shape[:2], 1, 1)
    soft = functional.avg_pool2d(may_be[:, 1:].float(), 3, stride=1, padding=1)
    blood = _per_image(images, -0.3, 0.25, generator)
    shift = torch.cat(
        [
            blood + _per_image(images, -0.06, 0.06, generator),
            _per_image(images, -0.15, 0.2, generator),
            blood + _per_image(images, -0.06, 0.06, generator),
        ],
        dim=1,
    )
    soft = soft.view(*images.shape[:2], *soft.shape[1:])
    added = (soft * shift[:, None]).sum(dim=2)
    changed = torch.where(known, (images + added).clamp(0, 1.3), images)
    return _sometimes(changed, images, 0.35, generator)


def bias_field(images: Tensor, generator: Generator) -> Tensor:
    """Multiply by a smooth field, as receive coils do."""
    coarse = torch.randn((len(images), 1, 4, 4), generator=generator)
    size = list(images.shape[-2:])
    field = functional.interpolate(coarse, size, mode="bicubic", align_corners=True)
    strength = _per_image(images, 0.0, 0.4, generator)
    return _sometimes(images * torch.exp(strength * field), images, 0.5, generator)


def noise(images: Tensor, generator: Generator) -> Tensor:
    """Rician noise: the magnitude of a complex value with Gaussian noise in both parts."""
    deviation = _per_image(images, 0.0, 0.1, generator)
    real = images + deviation * torch.randn(images.shape, generator=generator)
    imaginary = deviation * torch.randn(images.shape, generator=generator)
    return _sometimes(torch.hypot(real, imaginary), images, 0.4, generator)


def low_resolution(images: Tensor, generator: Generator) -> Tensor:
    """Acquire the batch coarser by a common factor, and interpolate back."""
    factor = uniform(1.2, 2.5, generator)
    size = images.shape[-2:]
    coarse = [round(length / factor) for length in size]
    low = functional.interpolate(images, coarse, mode="bilinear", antialias=True)
    back = functional.interpolate(low, list(size), mode="bicubic").clamp(min=0)
    return _sometimes(back, images, 0.3, generator)


def blur_or_sharpen(images: Tensor, generator: Generator) -> Tensor:
    """Add or take away part of what a 3x3 mean smooths away."""
    smooth = functional.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    amount = _per_image(images, -1.0, 1.0, generator)
    return _sometimes((images + amount * (images - smooth)).clamp(min=0), images, 0.4, generator)


def ghosts(images: Tensor, generator: Generator) -> Tensor:
    """Add a faint copy displaced along one axis, as motion and inflow do along phase encoding."""
    axis = -1 if uniform(0, 1, generator) < 0.5 else -2
    distance = int(images.shape[axis] * uniform(0.1, 0.5, generator))
    strength = _per_image(images, 0.0, 0.15, generator)
    return _sometimes(images + strength * images.roll(distance, axis), images, 0.15, generator)


def change_appearance(images: Tensor, allowed: Tensor | None, generator: Generator) -> Tensor:
    """All changes of appearance in the order in which a scanner would cause them.

    Parameters
    ----------
    images : float tensor [n, c, y, x]
        In 0 to 1 (`models.preprocess.clip_to_unit`).
    allowed : uint8 tensor [n, c, y, x], optional
        Without it no tissue changes by itself.
    generator : Generator
    """
    changed = images if allowed is None else tissue_contrast(images, allowed, generator)
    changed = transfer_curve(changed.clamp(0, 1), generator)
    changed = bias_field(changed, generator)
    changed = ghosts(changed, generator)
    changed = low_resolution(changed, generator)
    changed = blur_or_sharpen(changed, generator)
    return noise(changed, generator)
