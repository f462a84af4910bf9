"""LV volume from images alone: the regression U-net and its scanning module in service."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from models.predict import grid_of
from models.preprocess import crop, normalise, restore
from models.registry import WEIGHTS_FOLDER, WeightsError, load, place
from models.scanning import explanation_mask, scan, volume_ml

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RegressedVolume:
    """A volume and what explains it.

    Attributes
    ----------
    volume_ml : float
        Of the LV cavity.
    mask, dilated : bool [z, y, x]
        The map at its threshold, as it is and grown by 5x5 pixels, on the pixels of the images.
    """

    volume_ml: float
    mask: Mask
    dilated: Mask


class VolumeRegressor:
    """Measures the LV volume of one phase with a network that was never shown a contour.

    Parameters
    ----------
    name : str
        A model with the task "volume_regression".
    device : str
        "cpu" or "cuda".
    folder : Path
        Of its card and weights.

    Raises
    ------
    WeightsError
        The model is missing, altered or has another task.
    """

    def __init__(self, name: str, device: str = "cpu", folder: Path = WEIGHTS_FOLDER) -> None:
        network, self.card = load(name, folder)
        if self.card.task != "volume_regression":
            raise WeightsError(f"model '{name}' is for {self.card.task}, not for volume_regression")
        self._network = place(network, device)
        self._device = device

    def __call__(
        self,
        images: npt.NDArray[np.float32],
        pixel_spacing_mm: tuple[float, float],
        slice_spacing_mm: float,
        centre_yx: tuple[float, float],
    ) -> RegressedVolume:
        """Measure one phase.

        Parameters
        ----------
        images : float32 [z, y, x]
            The whole stack, slices beyond the LV included, as in training.
        pixel_spacing_mm : (row_mm, column_mm)
        slice_spacing_mm : float
            Centre to centre.
        centre_yx : (float, float)
            Heart centre in pixels (row, column).
        """
        grid = grid_of(self.card.input)
        stack = torch.from_numpy(np.ascontiguousarray(images))[:, None].to(self._device)
        inputs = normalise(crop(stack, pixel_spacing_mm, centre_yx, grid))[None, None, :, 0]
        with torch.inference_mode():
            cam = self._network(inputs).cam.cpu()
        found = scan(cam, grid.spacing_mm, self.card.input["box_mm"])
        masks = []
        for dilate in (False, True):
            inside = torch.from_numpy(explanation_mask(cam[0].numpy(), dilate=dilate)).float()
            shape = (images.shape[1], images.shape[2])
            values, window = restore(inside[:, None], grid, shape, pixel_spacing_mm, centre_yx)
            mask = np.zeros(images.shape, dtype=np.bool_)
            mask[:, window[0], window[1]] = values[:, 0].numpy() >= 0.5
            masks.append(mask)
        volume = float(volume_ml(found, torch.tensor([slice_spacing_mm])))
        return RegressedVolume(volume, masks[0], masks[1])
