"""The task of the slice networks: label every pixel of a crop, from partly labelled sets."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor, nn

from models.preprocess import CropGrid, clip_to_unit, crop, normalise
from models.training.augment import (
    change_appearance,
    each_channel,
    moved,
    one_of,
    random_matrix,
    uniform,
)
from models.training.emidec import as_hearts, is_lge
from models.training.lge_contrast import as_lge
from models.training.losses import class_allowed, partial_loss
from models.training.slices import HEART, LabelledSlice
from models.training.tasks import NoDataError

Neighbours = tuple[LabelledSlice, ...]
"""Slices that a network sees together, the labelled one in the middle; itself beyond an end."""


@dataclass(frozen=True, slots=True)
class SliceSampling:
    """How crops are drawn from labelled slices.

    Attributes
    ----------
    grid : CropGrid
        Input of the network, in training and (size aside, for the localiser) in service.
    max_shift_mm : float
        The crop is centred at most so far from the LV, along each axis.
    max_scale : float
        Largest random scale where the pixel spacing is known; a set whose spacing is assumed
        gets 15 % more.
    empty_share : float
        Share of a set's draws that go to its slices without LV; they are rare but decide where
        the ventricle ends.
    context : int
        Slices on either side that the network sees with the one it labels.
    classes : mapping of int to str
        Names of the classes; those of the heart, or those that EMIDEC labels.
    class_weights : tuple of float
        Weight of each class in the loss, background first; all alike where there are none.
    lge_share : float
        Share of the cine slices that are turned to LGE contrast.
    set_shares : mapping of str to float
        Share of each set in a batch; sets that are absent leave theirs to the others.
    """

    grid: CropGrid
    max_shift_mm: float
    max_scale: float = 1.15
    empty_share: float = 0.06
    context: int = 0
    classes: Mapping[int, str] = field(default_factory=lambda: HEART)
    class_weights: tuple[float, ...] = ()
    lge_share: float = 0.0
    set_shares: Mapping[str, float] = field(
        default_factory=lambda: {"acdc": 0.6, "mnms": 0.6, "sunnybrook": 0.27, "synthetic": 0.13}
    )


@dataclass(frozen=True, slots=True)
class Drawable:
    """Slices of one set with their neighbours, those that show the LV and those that do not."""

    showing: tuple[Neighbours, ...]
    empty: tuple[Neighbours, ...]

    @classmethod
    def of(cls, groups: Iterable[Neighbours], dataset: str) -> "Drawable":
        """Pick the slices of a set and sort them."""
        chosen = [group for group in groups if _middle(group).dataset == dataset]
        return cls(
            tuple(group for group in chosen if _middle(group).shows_lv),
            tuple(group for group in chosen if not _middle(group).shows_lv),
        )


class SliceTask:
    """Partial cross entropy and soft Dice on random crops; Dice on plain ones.

    Parameters
    ----------
    sampling : SliceSampling
    train, validation : sequence of LabelledSlice

    Raises
    ------
    NoDataError
        No set of the sampling has a slice to learn from.
    """

    def __init__(
        self,
        sampling: SliceSampling,
        train: Sequence[LabelledSlice],
        validation: Sequence[LabelledSlice],
    ) -> None:
        if sampling.classes == HEART:
            train, validation = as_hearts(train), as_hearts(validation)
        groups = with_neighbours(train, sampling.context)
        sets = {name: Drawable.of(groups, name) for name in sampling.set_shares}
        self.sampling = sampling
        self.sets = {name: drawable for name, drawable in sets.items() if drawable.showing}
        self.validation = with_neighbours(validation, sampling.context)
        if not self.sets:
            raise NoDataError(f"no labelled slice of {', '.join(sampling.set_shares)}")

    def random_batch(self, size: int, generator: Generator) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Crops of random slices, augmented.

        Returns
        -------
        images : float tensor [size, 2 context + 1, y, x]
            Normalised as in service.
        (allowed,) : uint8 tensor [size, y, x]
        """
        names = list(self.sets)
        shares = torch.tensor([self.sampling.set_shares[name] for name in names])
        chosen = torch.multinomial(shares, size, replacement=True, generator=generator)
        crops = []
        for index in chosen.tolist():
            group = _draw(self.sets[names[index]], self.sampling.empty_share, generator)
            crops.append(_random_crop(group, self.sampling, generator))
        images = torch.cat([image for image, _ in crops])
        allowed = torch.cat([bits for _, bits in crops])
        labels = allowed if self.sampling.classes == HEART else None
        changed = change_appearance(each_channel(clip_to_unit, images), labels, generator)
        return each_channel(normalise, changed), (allowed[:, allowed.shape[1] // 2],)

    def loss(self, outputs: Any, targets: tuple[Tensor, ...]) -> Tensor:
        """Partial loss; of every resolution where the network gives several, halved each time."""
        (allowed,) = targets
        levels = outputs if isinstance(outputs, tuple) else (outputs,)
        weights = self.sampling.class_weights
        total = partial_loss(levels[0].float(), allowed, weights)
        for level, logits in enumerate(levels[1:], start=1):
            coarse = allowed[:, :: 2**level, :: 2**level]
            total = total + partial_loss(logits.float(), coarse, weights) / 2**level
        return total

    def validate(self, network: nn.Module, device: str) -> Mapping[str, float]:
        """Dice over all pixels of the validation crops, per set, class and phase.

        Classes that a slice does not label do not count there. Keys read
        ``dice_<set>_<class>_<phase>``, volumes ``ratio_...`` (predicted over true).
        """
        sums: dict[str, Counter[str]] = {}
        for first in range(0, len(self.validation), 16):
            groups = self.validation[first : first + 16]
            images, allowed = plain_batch(groups, self.sampling.grid)
            inputs = images.to(device).contiguous(memory_format=torch.channels_last)
            with torch.inference_mode():
                predicted = network(inputs).argmax(1).cpu()
            may_be = class_allowed(allowed, 1 + len(self.sampling.classes))
            several = may_be.sum(dim=1) > 1
            for index, group in enumerate(groups):
                for label, name in self.sampling.classes.items():
                    truth, found = may_be[index, label], predicted[index] == label
                    if not (truth & several[index]).any():
                        entry = _middle(group)
                        counts = sums.setdefault(f"{entry.dataset}_{name}_{entry.phase}", Counter())
                        counts["both"] += int((truth & found).sum())
                        counts["found"] += int(found.sum())
                        counts["truth"] += int(truth.sum())
        figures = {}
        for key, counts in sums.items():
            total = max(counts["found"] + counts["truth"], 1)
            figures[f"dice_{key}"] = round(2 * counts["both"] / total, 4)
            figures[f"ratio_{key}"] = round(counts["found"] / max(counts["truth"], 1), 4)
        return figures


def with_neighbours(slices: Iterable[LabelledSlice], context: int) -> tuple[Neighbours, ...]:
    """Every slice with its `context` neighbours on either side, in the order of the stack."""
    kept = tuple(slices)
    by_place = {(*entry.stack, entry.position): entry for entry in kept}
    groups = []
    for entry in kept:
        group = [entry]
        for step in (1, -1):
            last = entry
            for distance in range(1, context + 1):
                place = (*entry.stack, entry.position + step * distance)
                last = by_place.get(place, last)
                group = [*group, last] if step > 0 else [last, *group]
        groups.append(tuple(group))
    return tuple(groups)


def plain_batch(groups: Sequence[Neighbours], grid: CropGrid) -> tuple[Tensor, Tensor]:
    """Crops around the LV as they are: images [n, 2 context + 1, y, x], allowed [n, y, x]."""
    crops = [lay(group, grid, [_middle(group).centre_yx] * len(group)) for group in groups]
    images = torch.cat([image for image, _, _ in crops])
    allowed = torch.cat([bits for _, bits, _ in crops])
    return each_channel(normalise, images), allowed[:, allowed.shape[1] // 2]


def _middle(group: Neighbours) -> LabelledSlice:
    return group[len(group) // 2]


def _draw(drawable: Drawable, empty_share: float, generator: Generator) -> Neighbours:
    from_empty = uniform(0, 1, generator) < empty_share and drawable.empty
    pool = drawable.empty if from_empty else drawable.showing
    return one_of(pool, generator)


def _random_crop(
    group: Neighbours, sampling: SliceSampling, generator: Generator
) -> tuple[Tensor, Tensor]:
    """One augmented crop: images [1, c, y, x] in grey values, allowed [1, c, y, x].

    Neighbours may be missing (the slice itself takes their place), lie shifted as after another
    breath-hold, and come in either order.
    """
    entry = _middle(group)
    spacing = entry.pixel_spacing_mm
    centre = moved(entry.centre_yx, spacing, sampling.max_shift_mm, generator)
    scale = sampling.max_scale * (1.0 if entry.spacing_is_known else 1.15)
    matrix = random_matrix(generator, scale)
    if len(group) > 1:
        if uniform(0, 1, generator) < 0.5:
            group = group[::-1]
        if uniform(0, 1, generator) < 0.15:
            group = (entry,) * len(group)
    shifted = len(group) > 1 and uniform(0, 1, generator) < 0.3
    centres = [
        moved(centre, spacing, 4.0, generator) if shifted and index != len(group) // 2 else centre
        for index in range(len(group))
    ]
    images, allowed, inside = lay(group, sampling.grid, centres, matrix)
    if not is_lge(entry) and uniform(0, 1, generator) < sampling.lge_share:
        images = as_lge(each_channel(clip_to_unit, images), allowed, inside, generator)
    return images, allowed


def lay(
    group: Neighbours,
    grid: CropGrid,
    centres_yx: Sequence[tuple[float, float]],
    matrix: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Lay a grid over slices that lie over each other.

    Returns
    -------
    images : float tensor [1, c, y, x]
        In grey values.
    allowed : uint8 tensor [1, c, y, x]
        Background outside the scanned image.
    inside : bool tensor [1, c, y, x]
        Where the scanned image is.
    """
    images, labels = [], []
    for entry, centre in zip(group, centres_yx, strict=True):
        spacing, shift = entry.pixel_spacing_mm, entry.label_shift_px
        image = torch.from_numpy(entry.image)[None, None].float()
        images.append(crop(image, spacing, centre, grid, matrix=matrix))
        allowed = torch.from_numpy(entry.allowed)[None, None].float()
        place = (centre[0] + shift, centre[1] + shift)
        labels.append(crop(allowed, spacing, place, grid, matrix=matrix, mode="nearest"))
    bits = torch.cat(labels, dim=1).to(torch.uint8)
    return torch.cat(images, dim=1), bits.clamp(min=1), bits > 0
