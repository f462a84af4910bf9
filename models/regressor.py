"""LV areas from images alone: the regression U-net and its scanning module in service."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from models.backend import CPU, Backend
from models.predict import TaskNetwork, grid_of
from models.preprocess import crop, restore
from models.registry import WEIGHTS_FOLDER
from models.regression_unet import prepared
from models.scanning import explanation_mask, scan

Float64 = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class RegressedVolume:
    """What the slices of one phase hold, and what explains it.

    Attributes
    ----------
    area_mm2 : float64 [z]
        Of the LV cavity.
    explanation, dilated : bool [z, y, x]
        The map at its threshold, as it is and grown by 5x5 pixels, on the pixels of the images.
    """

    area_mm2: Float64
    explanation: Mask
    dilated: Mask

    def within(self, slices: Sequence[int], n_slices: int) -> "RegressedVolume":
        """The same as some slices of a longer stack that holds nothing elsewhere."""

        def laid(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
            whole = np.zeros((n_slices, *values.shape[1:]), dtype=values.dtype)
            whole[slices] = values
            return whole

        return RegressedVolume(laid(self.area_mm2), laid(self.explanation), laid(self.dilated))


class VolumeRegressor(TaskNetwork):
    """Measures the LV in one phase with a network that was never shown a contour."""

    def __init__(
        self,
        name: str = "cine_volume_regression",
        backend: Backend = CPU,
        folder: Path = WEIGHTS_FOLDER,
    ) -> None:
        super().__init__("volume_regression", name, backend, folder)

    def __call__(
        self,
        images: npt.NDArray[np.float32],
        pixel_spacing_mm: tuple[float, float],
        centre_yx: tuple[float, float],
    ) -> RegressedVolume:
        """Measure one phase.

        Parameters
        ----------
        images : float32 [z, y, x]
            The slices that show the LV, in their order.
        pixel_spacing_mm : (row_mm, column_mm)
        centre_yx : (float, float)
            Heart centre in pixels (row, column).
        """
        grid = grid_of(self.card.input)
        stack = torch.from_numpy(np.ascontiguousarray(images))[None].to(self._device)
        with torch.inference_mode():
            inputs = prepared(crop(stack, pixel_spacing_mm, centre_yx, grid))
            cam = self._network(inputs).cam.float().cpu()
        area = scan(cam, grid.spacing_mm, self.card.input["box_mm"]).area_mm2[0]
        masks = [explanation_mask(cam[0].numpy(), dilate=dilate) for dilate in (False, True)]
        shape = (images.shape[1], images.shape[2])
        on_grid = torch.from_numpy(np.stack(masks, axis=1)).float()
        values, window = restore(on_grid, grid, shape, pixel_spacing_mm, centre_yx)
        plain, dilated = np.zeros((2, *images.shape), dtype=np.bool_)
        plain[:, *window], dilated[:, *window] = (values >= 0.5).numpy().transpose(1, 0, 2, 3)
        return RegressedVolume(area.double().numpy(), plain, dilated)
