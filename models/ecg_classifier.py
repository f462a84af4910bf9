"""The classifier of ECG sheets in service."""

from pathlib import Path

import torch
from torch import Tensor

from models.backend import CPU, Backend
from models.ecg_sheet import UInt8, prepared
from models.picture_classifier import PictureClassifier
from models.registry import WEIGHTS_FOLDER


class EcgClassifier(PictureClassifier):
    """Sorts pictures of 12-lead ECG sheets into the classes of its card.

    They are whole, with head and foot; `models.ecg_sheet.draw_sheet` makes one of a record.
    """

    def __init__(
        self, name: str = "ecg_dual_branch", backend: Backend = CPU, folder: Path = WEIGHTS_FOLDER
    ) -> None:
        super().__init__("ecg_classification", name, backend, folder)

    def _input(self, picture: UInt8) -> Tensor:
        return torch.from_numpy(prepared(picture))
