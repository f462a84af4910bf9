"""The task of the regression U-net: the LV volume, from volumes alone."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn

from models.preprocess import CropGrid, clip_to_unit, crop
from models.regression_unet import prepared
from models.scanning import DEFAULT_BOX_MM, explanation_mask, scan, volume_ml
from models.training.augment import change_appearance, moved, one_of, random_matrix, uniform
from models.training.metrics import dice
from models.training.tasks import NORMALISATION, NoDataError, Recipe, TrainSettings, load_task
from models.training.volumes import VolumeCase, prepare_volumes
from models.training.weighted_losses import regression_loss

_UNKNOWN = 0b1111  # any class: no label is shown
# Diameter of a cavity twice as long as wide, in mm per cube root of its ml, and a little more.
_HOLDS = 11.0
_TIGHT_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class VolumeSampling:
    """How volumes are drawn and laid.

    Attributes
    ----------
    grid : CropGrid
        Plane of the network's input.
    box_mm : float
        Side of the scanning box in service, see `_boxes`.
    floor_mm2 : float
        Area from which the roundness of a slice counts.
    max_shift_mm, max_scale : float
        Largest shift along each axis, and largest random scale; a scaled heart has its volume
        scaled.
    """

    grid: CropGrid
    box_mm: float = DEFAULT_BOX_MM
    floor_mm2: float = 100.0
    max_shift_mm: float = 15.0
    max_scale: float = 1.15


class RegressionTask:
    """Errors of volume and roundness; volume errors and mask Dice at validation.

    Parameters
    ----------
    sampling : VolumeSampling
    train, validation : sequence of VolumeCase

    Raises
    ------
    NoDataError
        There is no volume to learn from.
    """

    def __init__(
        self,
        sampling: VolumeSampling,
        train: Sequence[VolumeCase],
        validation: Sequence[VolumeCase],
    ) -> None:
        self.sampling = sampling
        self.train = tuple(train)
        self.validation = tuple(validation)
        if not self.train:
            raise NoDataError("no volume whose LV volume is known")

    def random_batch(self, size: int, generator: Generator) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Random volumes of one number of slices, augmented.

        Returns
        -------
        images : float tensor [size, 1, z, y, x]
            Each slice normalised by itself.
        (volume_ml, slice_spacing_mm, box_mm) : float tensors [size]
        """
        first = one_of(self.train, generator)
        alike = [case for case in self.train if len(case.images) == len(first.images)]
        others = torch.randint(len(alike), (size - 1,), generator=generator).tolist()
        cases = [first, *(alike[index] for index in others)]
        drawn = [_random_crop(case, self.sampling, generator) for case in cases]
        images = clip_to_unit(torch.cat([image for image, _ in drawn]))
        unlabelled = torch.full_like(images, _UNKNOWN, dtype=torch.uint8)
        changed = change_appearance(images, unlabelled, generator)
        volumes = torch.tensor([volume for _, volume in drawn])
        spacings = torch.tensor([case.slice_spacing_mm for case in cases])
        boxes = _boxes(volumes, self.sampling.box_mm, generator)
        return prepared(changed), (volumes, spacings, boxes)

    def loss(self, outputs: Any, targets: tuple[Tensor, ...]) -> Tensor:
        """`regression_loss` of the map and the bottleneck."""
        return regression_loss(
            outputs,
            *targets,
            spacing_mm=self.sampling.grid.spacing_mm,
            floor_mm2=self.sampling.floor_mm2,
        )

    def validate(self, network: nn.Module, device: str) -> Mapping[str, float]:
        """Mean absolute volume error (ml) and Dice of the mask, raw and dilated, per phase."""
        figures: dict[str, list[float]] = {}
        for case in self.validation:
            inputs = self.plain(case)
            with torch.inference_mode():
                cam = network(inputs.to(device)).cam.cpu()
            found = scan(cam, self.sampling.grid.spacing_mm, self.sampling.box_mm)
            volume = float(volume_ml(found, torch.tensor([case.slice_spacing_mm])))
            figures.setdefault(f"ml_{case.phase}", []).append(abs(volume - case.volume_ml))
            if case.cavity is not None:
                truth = _lay(case, case.cavity, self.sampling, case.centre_yx, mode="nearest")
                for dilate, name in ((False, "raw"), (True, "dilated")):
                    mask = explanation_mask(cam[0].numpy(), dilate=dilate)
                    overlap = dice(mask, np.asarray(truth[0] > 0))
                    figures.setdefault(f"dice_{name}_{case.phase}", []).append(overlap)
        return {key: round(fmean(values), 4) for key, values in figures.items()}

    def plain(self, case: VolumeCase) -> Tensor:
        """A volume as service prepares it; float [1, 1, z, y, x]."""
        return prepared(_lay(case, case.images, self.sampling, case.centre_yx))


def _boxes(volumes_ml: Tensor, largest_mm: float, generator: Generator) -> Tensor:
    """Side of the scanning box of each sample in mm, [n]: mostly the least that holds its LV.

    In one box of 82 mm a map that is the same everywhere has about the right volume and is as round
    as a disc, whatever the image shows: trained so, networks stay there (1,000 steps without an
    object at the threshold). It is neither in a tight box, nor in every box.
    """
    tight = (_HOLDS * volumes_ml.pow(1 / 3)).clamp(max=largest_mm)
    beyond = (torch.rand(len(tight), generator=generator) - _TIGHT_SHARE) / (1 - _TIGHT_SHARE)
    return tight + (largest_mm - tight) * beyond.clamp(min=0)


def _random_crop(
    case: VolumeCase, sampling: VolumeSampling, generator: Generator
) -> tuple[Tensor, float]:
    """One augmented volume [1, z, y, x] in grey values, and the volume in ml it now shows."""
    centre = moved(case.centre_yx, case.pixel_spacing_mm, sampling.max_shift_mm, generator)
    matrix = random_matrix(generator, sampling.max_scale)
    images = _lay(case, case.images, sampling, centre, matrix=matrix)
    if uniform(0, 1, generator) < 0.5:
        images = images.flip(1)
    return images, case.volume_ml / abs(float(torch.linalg.det(matrix)))


def _lay(
    case: VolumeCase,
    stack: np.ndarray[Any, np.dtype[np.uint8]],
    sampling: VolumeSampling,
    centre_yx: tuple[float, float],
    *,
    matrix: Tensor | None = None,
    mode: str = "bilinear",
) -> Tensor:
    """Images or a mask of a case, on the grid; float [1, z, y, x]."""
    values = torch.from_numpy(stack)[None].float()
    spacing = case.pixel_spacing_mm
    return crop(values, spacing, centre_yx, sampling.grid, matrix=matrix, mode=mode)


def regression_recipe(sampling: VolumeSampling) -> Recipe:
    """Recipe of the regression U-net."""
    geometry = asdict(sampling.grid) | {
        "box_mm": sampling.box_mm,
        "normalisation": f"each slice: {NORMALISATION}",
    }
    return Recipe(
        task="volume_regression",
        architecture="regression_unet",
        parameters={"width": 8},
        input=geometry,
        load=partial(load_task, partial(RegressionTask, sampling), prepare_volumes),
        settings=TrainSettings(steps=6_000, batch=5, learning_rate=1e-3),
    )


REGRESSION_RECIPES: Mapping[str, Recipe] = {
    "cine_volume_regression": regression_recipe(
        VolumeSampling(CropGrid(rows=88, columns=88, spacing_mm=2.0, supersample=2))
    ),
}
