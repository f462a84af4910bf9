"""What a picture shows: one network tells, and its doubt withholds."""

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.case import ModelUse, QualityFinding, Verdict
from pipeline.classification import Classification
from pipeline.stages import AnyPicture, PictureClassifier, model_use

if TYPE_CHECKING:
    from models.picture_classifier import Reading
    from models.registry import Card


class ClassifyPicture:
    """Classify the picture of a case, or withhold the class with the reason.

    Parameters
    ----------
    classifier : PictureClassifier
    min_confidence : float
        The class is withheld when its probability is lower.
    """

    name = "classification"

    def __init__(self, classifier: PictureClassifier, min_confidence: float) -> None:
        self._classifier = classifier
        self._min_confidence = min_confidence
        self.models: tuple[ModelUse, ...] = (model_use(classifier.card),)

    def __call__(self, case: AnyPicture) -> AnyPicture:
        """Return the case with its classification."""
        reading = None if case.unshown else self._classifier.read(case.picture)
        withheld = case.unshown
        if reading is not None:
            withheld = doubt_of(reading, "the picture", self._min_confidence)
        probabilities = () if withheld or reading is None else reading.probabilities
        told = Classification(
            subject=case.subject,
            training=training_of(self._classifier.card),
            probabilities=dict(zip(self._classifier.classes, probabilities, strict=False)),
            withheld=withheld,
        )
        quality = case.quality
        if withheld:
            doubt = QualityFinding("classification", Verdict.WITHHELD, withheld)
            quality = (*quality, doubt)
        return replace(case, classification=told, quality=quality)


def doubt_of(reading: "Reading", what: str, min_confidence: float) -> str | None:
    """Why the class of what was read is withheld: it is strange, or no class likely; else None."""
    if reading.is_strange:
        return (
            f"{what} is unlike those the network learned from (familiarity "
            f"{reading.familiarity:.2f}, its own reach {reading.least_familiarity:.2f})"
        )
    likeliest = max(reading.probabilities)
    if likeliest >= min_confidence:
        return None
    return (
        f"the likeliest class has a probability of {likeliest:.2f}, less than "
        f"{min_confidence:g} (min_confidence)"
    )


def training_of(card: "Card") -> str:
    """Say in a sentence what a network was trained on, and that it is not validated.

    The words before the first comma name a set, see `models.training.cards`.
    """
    named = [re.sub(r" \([^)]*\)", "", entry.split(",")[0]) for entry in card.data]
    sets = "; ".join(dict.fromkeys(named)) or "sets that its card does not name"
    return (
        f"Research model {card.name} {card.version}, trained on: {sets}. Not validated: decision "
        "support for research, never a diagnosis."
    )
