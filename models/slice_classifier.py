"""The slice classifier in service: which whole slices show the LV, and where it looked.

Grad-CAM: Selvaraju et al., ICCV 2017, doi:10.1109/ICCV.2017.74.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from models.backend import CPU, Backend
from models.predict import TaskNetwork, grid_of
from models.preprocess import CropGrid, crop, normalise, restore
from models.registry import WEIGHTS_FOLDER

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

_CHUNK = 32  # slices per forward pass: bounds memory


class SliceClassifier(TaskNetwork):
    """Tells slices that show the LV from slices that do not, each by itself."""

    def __init__(
        self, name: str = "lge_slices", backend: Backend = CPU, folder: Path = WEIGHTS_FOLDER
    ) -> None:
        super().__init__("slice_classification", name, backend, folder)
        self._grid = grid_of(self.card.input)

    def __call__(self, images: Float32, pixel_spacing_mm: tuple[float, float]) -> Float64:
        """Probability that each slice shows the LV.

        Parameters
        ----------
        images : float32 [n, y, x]
            Whole slices.
        pixel_spacing_mm : (row_mm, column_mm)

        Returns
        -------
        float64 [n]
        """
        found = []
        for first in range(0, len(images), _CHUNK):
            inputs = self._prepared(images[first : first + _CHUNK], pixel_spacing_mm)
            with torch.inference_mode():
                found.append(self._network(inputs).double().softmax(dim=1)[:, 1].cpu().numpy())
        return np.concatenate(found) if found else np.zeros(0)

    def grad_cam(self, image: Float32, pixel_spacing_mm: tuple[float, float]) -> Float32:
        """Where the network sees the LV.

        Parameters
        ----------
        image : float32 [y, x]
            A whole slice.
        pixel_spacing_mm : (row_mm, column_mm)

        Returns
        -------
        float32 [y, x]
            0 to 1 on the pixels of the image; 0 everywhere where nothing speaks for the LV.
        """
        kept: list[Tensor] = []

        def keep(_module: object, _inputs: object, features: Tensor) -> None:
            features.retain_grad()
            kept.append(features)

        hook = self._network.get_submodule("features").register_forward_hook(keep)
        try:
            with torch.enable_grad():
                self._network(self._prepared(image[None], pixel_spacing_mm))[0, 1].backward()
        finally:
            hook.remove()
        (features,) = kept
        if features.grad is None:
            raise RuntimeError("no gradient reached the features")
        weights = features.grad.mean(dim=(2, 3), keepdim=True)
        self._network.zero_grad()
        seen = (weights * features.detach()).sum(dim=1, keepdim=True).relu()
        size = (self._grid.rows, self._grid.columns)
        laid = functional.interpolate(seen, size, mode="bilinear", align_corners=True)
        middle = _middle(image.shape)
        shape = (image.shape[0], image.shape[1])
        values, window = restore(laid, self._grid, shape, pixel_spacing_mm, middle)
        heat = np.zeros(image.shape, dtype=np.float32)
        heat[window] = values[0, 0].cpu().numpy()
        return np.asarray(heat / max(float(heat.max()), 1e-12), dtype=np.float32)

    def _prepared(self, images: Float32, pixel_spacing_mm: tuple[float, float]) -> Tensor:
        pixels = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))[:, None]
        return whole_slices(pixels.to(self._device), pixel_spacing_mm, self._grid)


def whole_slices(images: Tensor, pixel_spacing_mm: tuple[float, float], grid: CropGrid) -> Tensor:
    """Input of a slice network: images [n, 1, y, x] on a grid about their middle, normalised."""
    return normalise(crop(images, pixel_spacing_mm, _middle(images.shape[2:]), grid))


def _middle(shape: tuple[int, ...]) -> tuple[float, float]:
    return (shape[0] - 1) / 2, (shape[1] - 1) / 2
