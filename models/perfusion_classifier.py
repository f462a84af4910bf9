"""The classifier of perfusion pictures in service."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.predict import TaskNetwork
from models.registry import WEIGHTS_FOLDER
from models.spect_sheet import SIDE, UInt8
from models.tomogram import Float64


class PerfusionClassifier(TaskNetwork):
    """Sorts perfusion sheets, and pictures of displays, into the classes of its card."""

    def __init__(
        self, name: str = "spect_mobilenet", device: str = "cpu", folder: Path = WEIGHTS_FOLDER
    ) -> None:
        super().__init__("perfusion_classification", name, device, folder)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by index."""
        return tuple(self.card.input["classes"])

    def __call__(self, pictures: Iterable[UInt8]) -> Float64:
        """Probability of each class.

        Parameters
        ----------
        pictures : iterable of uint8 [y, x, 3]
            Made by `models.spect_sheet.sheet`, or captures `without_small_marks`.

        Returns
        -------
        float64 [n, classes]
        """
        found = []
        for picture in pictures:
            inputs = network_input(picture)[None].to(self._device)
            with torch.inference_mode():
                found.append(self._network(inputs).double().softmax(dim=1).cpu().numpy())
        return np.concatenate(found) if found else np.zeros((0, len(self.classes)))


def network_input(picture: UInt8) -> Tensor:
    """Input [3, 224, 224] of the network made of a picture [y, x, 3] of any size.

    What is not square gets dark margins; the aspect stays.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None].float() / 255
    rows, columns = picture.shape[:2]
    if (rows, columns) != (SIDE, SIDE):
        above, left = (max(columns - rows, 0) // 2, max(rows - columns, 0) // 2)
        below, right = max(columns - rows, 0) - above, max(rows - columns, 0) - left
        square = functional.pad(pixels, (left, right, above, below))
        pixels = functional.interpolate(
            square, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False
        )
    return pixels[0].clamp(0, 1)
