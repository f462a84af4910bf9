"""The task of the 3-D U-net and the PSPU-net: label every pixel of three slices at once."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from typing import Any

import torch
from torch import Generator, Tensor, nn

from models.preprocess import CropGrid, clip_to_unit, normalise
from models.training.augment import (
    change_appearance,
    each_channel,
    moved,
    random_matrix,
    uniform,
)
from models.training.data import prepare
from models.training.losses import class_allowed
from models.training.slice_task import lay
from models.training.slices import HEART, LabelledSlice
from models.training.tasks import NORMALISATION, NoDataError, Recipe, TrainSettings, load_task
from models.training.weighted_losses import weighted_dice_loss
from models.windows import window_probabilities

Stack = tuple[LabelledSlice, ...]
"""Slices of one volume, in order, all of one size and spacing."""

CLASS_WEIGHTS = (0.1, 0.3, 0.3, 0.3)
_FULLY_LABELLED = ("acdc", "mnms")


@dataclass(frozen=True, slots=True)
class WindowSampling:
    """How windows are drawn from labelled volumes.

    Attributes
    ----------
    grid : CropGrid
        Plane of the network's input.
    depth : int
        Slices of a window.
    max_shift_mm : float
        A window is centred at most so far from the LV, along each axis.
    max_scale : float
        Largest random scale.
    """

    grid: CropGrid
    depth: int = 3
    max_shift_mm: float = 22.0
    max_scale: float = 1.15


class WindowTask:
    """Weighted Dice on augmented windows; Dice of whole volumes, windows averaged.

    Parameters
    ----------
    sampling : WindowSampling
    train, validation : sequence of LabelledSlice
        Fully labelled, e.g. of ACDC.

    Raises
    ------
    NoDataError
        No volume has slices enough for a window.
    """

    def __init__(
        self,
        sampling: WindowSampling,
        train: Iterable[LabelledSlice],
        validation: Iterable[LabelledSlice],
    ) -> None:
        depth = sampling.depth
        self.sampling = sampling
        self.windows = tuple(
            stack[first : first + depth]
            for stack in stacks(train)
            for first in range(len(stack) - depth + 1)
        )
        self.validation = stacks(validation)
        if not self.windows:
            raise NoDataError(f"no labelled volume of {depth} slices or more")

    def random_batch(self, size: int, generator: Generator) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Random windows, augmented.

        Returns
        -------
        images : float tensor [size, 1, depth, y, x]
            Each slice normalised by itself.
        (allowed,) : uint8 tensor [size, depth, y, x]
        """
        chosen = torch.randint(len(self.windows), (size,), generator=generator).tolist()
        crops = [_random_crop(self.windows[index], self.sampling, generator) for index in chosen]
        images = torch.cat([image for image, _ in crops])
        allowed = torch.cat([bits for _, bits in crops])
        changed = change_appearance(each_channel(clip_to_unit, images), allowed, generator)
        return each_channel(normalise, changed)[:, None], (allowed,)

    def loss(self, outputs: Any, targets: tuple[Tensor, ...]) -> Tensor:
        """Weighted Dice of the classes over the batch."""
        (allowed,) = targets
        probabilities = outputs.float().softmax(dim=1)
        slices = class_allowed(allowed.flatten(0, 1), probabilities.shape[1])
        target = slices.view(len(allowed), -1, *slices.shape[1:]).transpose(1, 2)
        return weighted_dice_loss(probabilities, target, CLASS_WEIGHTS, over_batch=True)

    def validate(self, network: nn.Module, device: str) -> Mapping[str, float]:
        """Dice over all pixels of the validation volumes, per set, class and phase."""
        both: dict[str, int] = {}
        total: dict[str, int] = {}
        for stack in self.validation:
            centres = [entry.centre_yx for entry in stack]
            images, allowed, _ = lay(stack, self.sampling.grid, centres)
            volume = each_channel(normalise, images)[0].to(device)
            found = window_probabilities(network, volume, self.sampling.depth).argmax(0).cpu()
            truth = class_allowed(allowed[0], 4)
            for label, name in HEART.items():
                key = f"dice_{stack[0].dataset}_{name}_{stack[0].phase}"
                mask = found == label
                both[key] = both.get(key, 0) + int((mask & truth[:, label]).sum())
                total[key] = total.get(key, 0) + int(mask.sum() + truth[:, label].sum())
        return {key: round(2 * both[key] / max(count, 1), 4) for key, count in total.items()}


def stacks(slices: Iterable[LabelledSlice]) -> tuple[Stack, ...]:
    """Slices grouped to volumes, in the order of the stack."""
    ordered = sorted(slices, key=lambda entry: (*entry.stack, entry.position))
    return tuple(tuple(group) for _, group in groupby(ordered, lambda entry: entry.stack))


def _random_crop(
    window: Stack, sampling: WindowSampling, generator: Generator
) -> tuple[Tensor, Tensor]:
    """One augmented window: grey values and allowed classes [1, depth, y, x], either end first."""
    entry = window[0]
    centre = moved(entry.centre_yx, entry.pixel_spacing_mm, sampling.max_shift_mm, generator)
    ordered = window if uniform(0, 1, generator) < 0.5 else window[::-1]
    matrix = random_matrix(generator, sampling.max_scale)
    images, allowed, _ = lay(ordered, sampling.grid, [centre] * len(window), matrix)
    return images, allowed


def window_recipe(
    architecture: str, parameters: Mapping[str, int], sampling: WindowSampling
) -> Recipe:
    """Recipe of a network that labels a few slices at once."""
    geometry = asdict(sampling.grid) | {
        "depth": sampling.depth,
        "normalisation": f"each slice: {NORMALISATION}",
    }
    return Recipe(
        task="segmentation",
        architecture=architecture,
        parameters=parameters,
        input=geometry,
        load=partial(load_task, partial(WindowTask, sampling), prepare),
        settings=TrainSettings(steps=6_000, batch=3, learning_rate=1e-3),
        sets=_FULLY_LABELLED,
    )


PAPER_GRID = CropGrid(rows=176, columns=176, spacing_mm=1.0)
WINDOW_RECIPES: Mapping[str, Recipe] = {
    "cine_unet_3d": window_recipe("unet_3d", {"width": 16}, WindowSampling(PAPER_GRID)),
    # At one width it costs four times what the 3-D U-net does: its pyramids are so much wider.
    "cine_pspunet": window_recipe("pspunet", {"width": 8}, WindowSampling(PAPER_GRID)),
}
