"""Measure a classifier of ECG sheets on held-out records, pictures and synthetic sheets."""

from models.ecg_classifier import EcgClassifier
from models.training.ecg_sets import ECG_SETS, ecg_cases
from models.training.ecg_task import plain_sheet
from models.training.evaluate import Evaluation
from models.training.evaluate_classes import Judged, add_judged


def evaluate_ecg(evaluation: Evaluation, classifier: EcgClassifier) -> None:
    """Measure on every set that is there; what was drawn is never counted with what was measured.

    See `models.training.evaluate_classes.add_judged`.
    """
    judged = []
    for dataset in ECG_SETS:
        note = evaluation.noting(dataset)
        for case in ecg_cases(evaluation.data, dataset, evaluation.part, note):
            (probabilities,) = classifier([plain_sheet(case)])
            judged.append(Judged(dataset, case.patient, case.label, tuple(probabilities.tolist())))
    add_judged(evaluation, classifier.classes, judged)
