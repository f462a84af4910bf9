"""Which disease group a measured heart looks like, for research; its doubt withholds.

Runs last: on what the quality checks doubt, no group rests. A group that is withheld is no doubt
about the numbers, so it leaves no verdict among theirs.
"""

from dataclasses import replace

from pipeline.case import CineCase, ModelUse, Verdict
from pipeline.classification import Classification
from pipeline.disease import NoViewError, heart_view
from pipeline.stages import DiseaseClassifier, model_use
from pipeline.stages.checked import biomarker
from pipeline.stages.classification import doubt_of, training_of
from pipeline.verdicts import verdict_of

SUBJECT = "disease_group"
RESTS_ON = ("lv_edv", "lv_esv", "lv_ef", "lv_mass", "rv_edv", "rv_esv", "rv_ef")
# A network's own card says the same of every study; the classifier learned from numbers as far off.
_OF_NETWORK = "_known_error"


class ClassifyDisease:
    """Tell the disease group of a case, or withhold it with the reason.

    Parameters
    ----------
    classifier : DiseaseClassifier
    min_confidence : float
        The group is withheld when its probability is lower.
    """

    name = "classification"

    def __init__(self, classifier: DiseaseClassifier, min_confidence: float) -> None:
        self._classifier = classifier
        self._min_confidence = min_confidence
        self.models: tuple[ModelUse, ...] = (model_use(classifier.card),)

    def __call__(self, case: CineCase) -> CineCase:
        """Return the case with its classification; needs the verdicts of the quality checks."""
        withheld = unfit(case)
        probabilities: dict[str, float] = {}
        if withheld is None:
            try:
                reading = self._classifier.read(heart_view(case))
            except NoViewError as error:
                withheld = str(error)
            else:
                withheld = doubt_of(reading, "the heart", self._min_confidence)
                probabilities = dict(
                    zip(self._classifier.classes, reading.probabilities, strict=True)
                )
        told = Classification(
            subject=SUBJECT,
            training=f"Disease group: {training_of(self._classifier.card)}",
            probabilities={} if withheld else probabilities,
            withheld=withheld,
        )
        return replace(case, classification=told)


def unfit(case: CineCase) -> str | None:
    """Why no group can rest on what was measured; None where it can."""
    quality = [one for one in case.quality if not one.check.endswith(_OF_NETWORK)]
    for name in RESTS_ON:
        said = verdict_of(biomarker(case, name), quality)
        if said.verdict is not Verdict.OK:
            doubted = "withheld" if said.verdict is Verdict.WITHHELD else "to be reviewed"
            return f"{name}, which the disease group rests on, is {doubted}: {said.reasons[0]}"
    return None
