"""A classifier of pictures in service, and how much a picture is like those it learned from.

Probabilities say which class is likeliest, never that none is right. How familiar a picture is, is
told by the logits before they are scaled to add up to one: the logarithm of the sum of their
exponentials, less the free energy, is high for what the network learned from (Liu W et al.,
Energy-based Out-of-distribution Detection, 2020, arXiv:2010.03759). The least of it that counts is
fitted to validation pictures when a network is exported, and kept on its card.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.predict import TaskNetwork

Float64 = npt.NDArray[np.float64]
UInt8 = npt.NDArray[np.uint8]

LEAST_FAMILIARITY = "least_familiarity"
"""Of the calibration of a card."""
_STRANGE_SHARE = 0.01  # of the validation pictures are as strange as what is withheld


@dataclass(frozen=True, slots=True)
class Reading:
    """What a classifier makes of a picture.

    Attributes
    ----------
    probabilities : tuple of float
        Of the classes, by index.
    familiarity : float
        Less the free energy of the logits.
    least_familiarity : float or None
        Below it the picture is unlike what the network learned from; None where nobody fitted it.
    """

    probabilities: tuple[float, ...]
    familiarity: float
    least_familiarity: float | None

    @property
    def is_strange(self) -> bool:
        """Whether the picture is unlike what the network learned from."""
        return self.least_familiarity is not None and self.familiarity < self.least_familiarity


class Classifier(TaskNetwork):
    """A network whose card names `classes`."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by index."""
        return tuple(self.card.input["classes"])


class PictureClassifier(Classifier):
    """Sorts pictures into the classes of its card."""

    def __call__(self, pictures: Iterable[UInt8]) -> Float64:
        """Probability [n, classes] of each class, of pictures uint8 [y, x, 3]."""
        found = [self.read(picture).probabilities for picture in pictures]
        return np.array(found, dtype=np.float64).reshape(-1, len(self.classes))

    def read(self, picture: UInt8) -> Reading:
        """Read a picture uint8 [y, x, 3]."""
        with torch.inference_mode():
            logits = self._network(self._input(picture)[None].to(self._device)).double().cpu()[0]
        return Reading(
            tuple(logits.softmax(dim=0).tolist()),
            float(familiarity(logits)),
            self.card.calibration.get(LEAST_FAMILIARITY),
        )

    def _input(self, picture: UInt8) -> Tensor:
        """Input [c, y, x] of the network."""
        raise NotImplementedError


def familiarity(logits: Tensor) -> Tensor:
    """Less the free energy [...] of logits [..., classes]."""
    return logits.logsumexp(dim=-1)


def least_familiarity(logits: Tensor) -> float:
    """Fit the least familiarity that counts to the logits [n, classes] of validation pictures."""
    return round(float(familiarity(logits.double()).quantile(_STRANGE_SHARE)), 4)
