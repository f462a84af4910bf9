"""The classifier of perfusion pictures in service."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.backend import CPU, Backend
from models.picture_classifier import PictureClassifier
from models.registry import WEIGHTS_FOLDER
from models.spect_sheet import SIDE, UInt8


class PerfusionClassifier(PictureClassifier):
    """Sorts perfusion sheets, and pictures of displays, into the classes of its card.

    They are made by `models.spect_sheet.sheet`, or captures `without_small_marks`.
    """

    def __init__(
        self, name: str = "spect_mobilenet", backend: Backend = CPU, folder: Path = WEIGHTS_FOLDER
    ) -> None:
        super().__init__("perfusion_classification", name, backend, folder)

    def _input(self, picture: UInt8) -> Tensor:
        return network_input(picture)


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
