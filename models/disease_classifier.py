"""The classifiers of disease groups in service: from what was measured, or from the images."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.backend import CPU, Backend
from models.heart_view import HeartView
from models.logistic_regression import LogisticRegression
from models.picture_classifier import LEAST_FAMILIARITY, Classifier, Reading, familiarity
from models.predict import grid_of
from models.preprocess import crop, normalise
from models.registry import WEIGHTS_FOLDER, WeightsError

TASK = "disease_classification"
_STRANGE_SHARE = 0.01  # of the patients it learned from are as strange as what is withheld


class DiseaseClassifier(Classifier):
    """Sorts hearts into the groups of its card, by the `features` that it names or by images."""

    def __init__(
        self,
        name: str = "cine_disease_biomarkers",
        backend: Backend = CPU,
        folder: Path = WEIGHTS_FOLDER,
    ) -> None:
        super().__init__(TASK, name, backend, folder)

    def read(self, heart: HeartView) -> Reading:
        """Read a heart: the mean over its slices, where it looks at slices.

        Raises
        ------
        WeightsError
            The card names a feature that is not measured.
        """
        logits, known = self._told(heart)
        return Reading(
            tuple(logits.softmax(dim=1).mean(dim=0).tolist()),
            known,
            self.card.calibration.get(LEAST_FAMILIARITY),
        )

    def slices(self, heart: HeartView) -> Tensor:
        """Probabilities [z, classes] of each slice by itself; one row where it sees no slices."""
        return self._told(heart)[0].softmax(dim=1)

    def _told(self, heart: HeartView) -> tuple[Tensor, float]:
        with torch.inference_mode():
            return told(self._network, heart_input(heart, self.card.input).to(self._device))


def heart_input(heart: HeartView, geometry: Mapping[str, Any]) -> Tensor:
    """Input of a network made of a heart: [1, features], or slices [z, 3, y, x].

    Parameters
    ----------
    heart : HeartView
    geometry : mapping
        `input` of its card: the names of `features`, or a grid.
    """
    if "features" not in geometry:
        grid = grid_of(geometry)
        slices = torch.from_numpy(heart.images).transpose(0, 1).float()
        return in_three_channels(crop(slices, heart.pixel_spacing_mm, heart.centre_yx, grid))
    missing = [name for name in geometry["features"] if name not in heart.features]
    if missing:
        raise WeightsError(f"what the card of the model names is not measured: {missing[0]}")
    return torch.tensor([[heart.features[name] for name in geometry["features"]]])


def in_three_channels(pairs: Tensor) -> Tensor:
    """ED, ES and their difference [n, 3, y, x] of ED and ES [n, 2, y, x], scaled together."""
    normal = normalise(pairs)
    return torch.cat([normal, normal[:, :1] - normal[:, 1:]], dim=1)


def told(network: nn.Module, inputs: Tensor) -> tuple[Tensor, float]:
    """Logits [n, classes] of the inputs of one heart, and how familiar it is.

    Of slices less the free energy, their mean; of numbers less the distance, in spreads, of the
    one that lies farthest from its mean.
    """
    logits = network(inputs).double().cpu()
    if isinstance(network, LogisticRegression):
        return logits, -float(network.standardised(inputs).abs().max())
    return logits, float(familiarity(logits).mean())


def reach(network: nn.Module, hearts: Iterable[Tensor]) -> Mapping[str, float]:
    """Fit the least familiarity that counts to the inputs of hearts; for a card."""
    with torch.inference_mode():
        known = torch.tensor([told(network, inputs)[1] for inputs in hearts])
    return {LEAST_FAMILIARITY: round(float(known.quantile(_STRANGE_SHARE)), 4)}
