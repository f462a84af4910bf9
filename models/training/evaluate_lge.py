"""Measure networks of late enhancement, and slice classifiers, on held-out patients."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np
import numpy.typing as npt

from models.predict import HeartLocaliser
from models.slice_classifier import SliceClassifier
from models.training import data as sets
from models.training import emidec, synthetic
from models.training.cards import fitted_on_lge
from models.training.cases import LabelledVolume, usable
from models.training.emidec import as_hearts
from models.training.evaluate import Evaluation
from models.training.measure import RELEVANCE_THRESHOLD, Row, row_of_localiser, row_of_scar
from models.training.metrics import area_under_roc, classification
from models.training.slice_class_task import SLICE_SETS
from models.training.whole_slices import WholeSlice, plain_slices

_CONTRASTS = {"cine": ("cine",), "LGE": ("as LGE", "LGE")}

Judged = tuple[WholeSlice, bool]
"""A slice, and whether the classifier says that it shows the LV."""


class ScarService(Protocol):
    """The chain that measures a late enhancement stack in the node, on plain arrays."""

    def scar(
        self,
        images: npt.NDArray[np.float32],
        pixel_spacing_mm: tuple[float, float],
        slice_spacing_mm: float,
    ) -> tuple[npt.NDArray[np.uint8], float]:
        """Labels [z, y, x] in the codes of EMIDEC, and the probability of an infarct.

        All 0 where the chain rejects the stack; NaN where it gives no probability.
        """
        ...


def evaluate_slices(evaluation: Evaluation, classifier: SliceClassifier) -> None:
    """Measure a classifier on whole slices of every set, cines in LGE contrast too.

    Gives per patient and contrast the sensitivity, also of the most basal and of the most apical
    slice with LV, and the specificity; and the confusion over all slices of each set and contrast.
    A classifier that was fitted on cine alone is measured on cine alone.
    """
    of_lge = fitted_on_lge(evaluation.card)
    contrasts = [
        name for kind in _CONTRASTS if of_lge or kind == "cine" for name in _CONTRASTS[kind]
    ]
    judged: list[Judged] = []
    for dataset in SLICE_SETS:
        note = evaluation.noting(dataset)
        for slices in sets.slices_by_patient(evaluation.data, dataset, evaluation.part, note):
            asked = [s for s in plain_slices(as_hearts(slices)) if s.contrast in contrasts]
            found = list(_judge(classifier, asked))
            for row in _rows_of_patient(dataset, found):
                evaluation.add(row)
            judged += found
    evaluation.pooled.update(pooled(judged))


def _judge(classifier: SliceClassifier, slices: Sequence[WholeSlice]) -> Iterator[Judged]:
    for whole in slices:
        (probability,) = classifier(whole.image[None], whole.entry.pixel_spacing_mm)
        yield whole, bool(probability >= RELEVANCE_THRESHOLD)


def _rows_of_patient(dataset: str, judged: Sequence[Judged]) -> Iterator[Row]:
    """One row for each contrast."""
    for contrast in dict.fromkeys(whole.contrast for whole, _ in judged):
        chosen = [(whole.entry, said) for whole, said in judged if whole.contrast == contrast]
        showing = [(entry, said) for entry, said in chosen if entry.shows_lv]
        empty = [said for entry, said in chosen if not entry.shows_lv]
        row: Row = {"dataset": dataset, "patient": chosen[0][0].patient, "group": contrast}
        if showing:
            stacks = {entry.phase for entry, _ in showing}
            row["sensitivity"] = float(np.mean([said for _, said in showing]))
            for name, end in (("basal", min), ("apical", max)):  # stacks begin at the base
                ends = [
                    end((entry.position, said) for entry, said in showing if entry.phase == phase)
                    for phase in stacks
                ]
                row[f"sensitivity_most_{name}"] = float(np.mean([said for _, said in ends]))
        if empty:
            row["specificity"] = 1 - float(np.mean(empty))
        yield row


def pooled(judged: Sequence[Judged]) -> dict[str, dict[str, float]]:
    """Confusion over all slices of each contrast, of all sets together and of each by itself."""
    tables = {}
    for name, contrasts in _CONTRASTS.items():
        of_contrast = [pair for pair in judged if pair[0].contrast in contrasts]
        tables[f"all_{name}"] = of_contrast
        for dataset in dict.fromkeys(whole.entry.dataset for whole, _ in of_contrast):
            chosen = [pair for pair in of_contrast if pair[0].entry.dataset == dataset]
            tables[f"{dataset}_{name}"] = chosen
    return {
        name: classification([said for _, said in pairs], [w.entry.shows_lv for w, _ in pairs])
        for name, pairs in tables.items()
        if pairs
    }


def evaluate_lge_localiser(evaluation: Evaluation, localiser: HeartLocaliser) -> None:
    """Measure a localiser on late enhancement, real and synthetic.

    In EMIDEC the LV lies in the middle of every image: a fifth of the rows and of the columns is
    cut off first.
    """
    for dataset, volume in _scar_volumes(evaluation):
        rows, columns = (length // 5 for length in volume.images.shape[1:])
        cut = replace(
            volume,
            images=volume.images[:, rows:, columns:],
            labels=volume.labels[:, rows:, columns:],
        )
        evaluation.add(row_of_localiser(localiser, dataset, cut, lv=emidec.LV))


def evaluate_scar(evaluation: Evaluation, service: ScarService) -> None:
    """Measure a scar segmenter on EMIDEC and on synthetic hearts, in the chain it serves in.

    Gives Dice of cavity, whole myocardium, infarct (no-reflow included) and no-reflow, the error
    of the scar in percent of the myocardium, and how the exams are told apart: confusion from a
    probability of 0.5 on, and area under the ROC curve. One without probability has no infarct.
    """
    for dataset, volume in _scar_volumes(evaluation):
        found, probability = service.scar(
            volume.images, volume.pixel_spacing_mm, volume.slice_spacing_mm
        )
        row = row_of_scar(dataset, volume, found) | {"infarct_probability": probability}
        evaluation.add(row)
    for dataset in dict.fromkeys(row["dataset"] for row in evaluation.patients):
        rows = evaluation.of(dataset)
        infarct = [row["scar_percent_true"] > 0 for row in rows]
        scores = [float(np.nan_to_num(row["infarct_probability"])) for row in rows]
        exams = classification([one >= 0.5 for one in scores], infarct)
        area = area_under_roc(scores, infarct)
        if not math.isnan(area):
            exams["auc"] = round(area, 4)
        evaluation.pooled[f"{dataset}_exams"] = exams


def _scar_volumes(evaluation: Evaluation) -> Iterator[tuple[str, LabelledVolume]]:
    if emidec.is_there(evaluation.data):
        names = sets.patients(evaluation.data, "emidec", evaluation.part)
        read = partial(emidec.read_case, evaluation.data)
        for volume in usable(names, read, evaluation.noting("emidec")):
            yield "emidec", volume
    for seed in synthetic.SEEDS[evaluation.part]:
        yield "synthetic_lge", synthetic.synthetic_lge(seed)
