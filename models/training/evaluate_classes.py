"""What any classifier of whole images is measured by."""

from collections.abc import Sequence
from dataclasses import dataclass

from models.training.evaluate import Evaluation
from models.training.metrics import class_figures


@dataclass(frozen=True, slots=True)
class Judged:
    """An image, and what a classifier says of it.

    Attributes
    ----------
    dataset, patient : str
        The set; where its name begins with "synthetic", the image was drawn by a program.
    label : int
        Index of its class.
    probabilities : tuple of float
        Of the classes, by index.
    """

    dataset: str
    patient: str
    label: int
    probabilities: tuple[float, ...]

    @property
    def found(self) -> int:
        """Index of the likeliest class."""
        return self.probabilities.index(max(self.probabilities))


def add_judged(evaluation: Evaluation, classes: Sequence[str], judged: Sequence[Judged]) -> None:
    """Put one row for each image, and the confusion of the classes, into an evaluation.

    A row holds `accuracy` (1 where the class is right), the probability of the true class and the
    confidence in the one found; its group is the true class. The confusion
    (`models.training.metrics.class_figures`) is taken of each set as `<set>_classes`, of all real
    ones as `all_real_classes` and of all synthetic ones as `all_synthetic_classes`, unless they are
    of one set.
    """
    for one in judged:
        evaluation.add(
            {
                "dataset": one.dataset,
                "patient": one.patient,
                "group": classes[one.label],
                "accuracy": float(one.found == one.label),
                "probability_of_truth": one.probabilities[one.label],
                "confidence": max(one.probabilities),
            }
        )
    tables: dict[str, list[Judged]] = {}
    for one in judged:
        kind = "synthetic" if one.dataset.startswith("synthetic") else "real"
        for name in (f"all_{kind}", one.dataset):
            tables.setdefault(name, []).append(one)
    for name, chosen in sorted(tables.items(), key=lambda table: -len(table[1])):
        if name.startswith("all_") and len({one.dataset for one in chosen}) == 1:
            continue
        found, truth = [one.found for one in chosen], [one.label for one in chosen]
        evaluation.pooled[f"{name}_classes"] = class_figures(found, truth, classes)
