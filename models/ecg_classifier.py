"""The classifier of ECG sheets in service."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from models.ecg_sheet import UInt8, prepared
from models.predict import TaskNetwork
from models.registry import WEIGHTS_FOLDER

Float64 = npt.NDArray[np.float64]


class EcgClassifier(TaskNetwork):
    """Sorts pictures of 12-lead ECG sheets into the classes of its card."""

    def __init__(
        self, name: str = "ecg_dual_branch", device: str = "cpu", folder: Path = WEIGHTS_FOLDER
    ) -> None:
        super().__init__("ecg_classification", name, device, folder)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by index."""
        return tuple(self.card.input["classes"])

    def __call__(self, sheets: Iterable[UInt8]) -> Float64:
        """Probability of each class.

        Parameters
        ----------
        sheets : iterable of uint8 [y, x, 3]
            Whole pictures, with head and foot; `models.ecg_sheet.draw_sheet` makes one of a record.

        Returns
        -------
        float64 [n, classes]
        """
        found = []
        for sheet in sheets:
            inputs = torch.from_numpy(prepared(sheet))[None].to(self._device)
            with torch.inference_mode():
                found.append(self._network(inputs).double().softmax(dim=1).cpu().numpy())
        return np.concatenate(found) if found else np.zeros((0, len(self.classes)))
