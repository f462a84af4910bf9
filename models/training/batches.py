"""Batches of crops: random ones for fitting, plain ones for validation."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from models.preprocess import clip_to_unit, crop, normalise
from models.training.augment import change_appearance, random_matrix, uniform
from models.training.recipes import Recipe
from models.training.slices import LabelledSlice


def _lay(
    entry: LabelledSlice, recipe: Recipe, centre: tuple[float, float], matrix: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Image [1, 1, y, x] and allowed classes [1, y, x] of one crop."""
    image = torch.from_numpy(entry.image)[None, None].float()
    allowed = torch.from_numpy(entry.allowed)[None, None].float()
    spacing = entry.pixel_spacing_mm
    pixels = crop(image, spacing, centre, recipe.grid, matrix=matrix)
    bits = crop(allowed, spacing, centre, recipe.grid, matrix=matrix, mode="nearest").to(
        torch.uint8
    )
    return pixels, torch.where(bits == 0, torch.ones_like(bits), bits)[:, 0]


def _random_crop(
    entry: LabelledSlice, recipe: Recipe, generator: Generator
) -> tuple[Tensor, Tensor]:
    shift = [
        uniform(-recipe.max_shift_mm, recipe.max_shift_mm, generator) / spacing
        for spacing in entry.pixel_spacing_mm
    ]
    scale = recipe.max_scale * (1.0 if entry.spacing_is_known else 1.15)
    matrix = random_matrix(generator, scale)
    centre = (entry.centre_yx[0] + shift[0], entry.centre_yx[1] + shift[1])
    return _lay(entry, recipe, centre, matrix)


@dataclass(frozen=True, slots=True)
class Drawable:
    """Slices of one set, those that show the LV and those that do not."""

    showing: tuple[LabelledSlice, ...]
    empty: tuple[LabelledSlice, ...]

    @classmethod
    def of(cls, slices: Iterable[LabelledSlice], dataset: str) -> "Drawable":
        """Pick the slices of a set and sort them."""
        chosen = [(entry.shows_lv, entry) for entry in slices if entry.dataset == dataset]
        return cls(
            tuple(entry for shows, entry in chosen if shows),
            tuple(entry for shows, entry in chosen if not shows),
        )


def _draw(drawable: Drawable, empty_share: float, generator: Generator) -> LabelledSlice:
    from_empty = uniform(0, 1, generator) < empty_share and drawable.empty
    pool = drawable.empty if from_empty else drawable.showing
    return pool[int(torch.randint(len(pool), (), generator=generator))]


def random_batch(
    sets: Mapping[str, Drawable], recipe: Recipe, size: int, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Crops of random slices, augmented.

    Returns
    -------
    images : float tensor [size, 1, y, x]
        Normalised as in service.
    allowed : uint8 tensor [size, y, x]
    """
    names = list(sets)
    shares = torch.tensor([recipe.set_shares[name] for name in names])
    chosen = torch.multinomial(shares, size, replacement=True, generator=generator)
    crops = []
    for index in chosen.tolist():
        entry = _draw(sets[names[index]], recipe.empty_share, generator)
        crops.append(_random_crop(entry, recipe, generator))
    images = torch.cat([image for image, _ in crops])
    allowed = torch.cat([bits for _, bits in crops])
    return normalise(change_appearance(clip_to_unit(images), allowed, generator)), allowed


def plain_batch(slices: Sequence[LabelledSlice], recipe: Recipe) -> tuple[Tensor, Tensor]:
    """Crops of given slices around the LV, as they are."""
    crops = [_lay(entry, recipe, entry.centre_yx, None) for entry in slices]
    images = torch.cat([image for image, _ in crops])
    return normalise(images), torch.cat([bits for _, bits in crops])
