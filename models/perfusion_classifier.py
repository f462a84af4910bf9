"""The classifier of perfusion pictures in service."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from models.predict import load_for_task
from models.registry import WEIGHTS_FOLDER
from models.spect_sheet import UInt8, network_input
from models.tomogram import Float64


class PerfusionClassifier:
    """Sorts perfusion sheets, and pictures of displays, into the classes of its card.

    Parameters
    ----------
    name : str
        A model with the task "perfusion_classification".
    device : str
        "cpu" or "cuda".
    folder : Path
        Of its card and weights.

    Raises
    ------
    WeightsError
        The model is missing, altered or has another task.
    """

    def __init__(
        self, name: str = "spect_mobilenet", device: str = "cpu", folder: Path = WEIGHTS_FOLDER
    ) -> None:
        self._network, self.card = load_for_task(name, "perfusion_classification", device, folder)
        self._device = device

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
