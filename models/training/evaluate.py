"""Measure weights on the held-out patients, through the chain that serves them.

`dicom-node evaluate MODEL` is its command.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from models.predict import HeartLocaliser
from models.registry import Card
from models.split import Part
from models.training import acdc, mnms, studies, sunnybrook, synthetic
from models.training.cards import fitted_sets, is_held_out
from models.training.cases import CaseError, LabelledVolume, usable
from models.training.data import is_there, patients
from models.training.measure import (
    Row,
    Service,
    label_pair,
    row_of_frames,
    row_of_localiser,
    row_of_regression,
    row_of_slices,
    row_of_study,
    row_of_volumes,
    rows_of_changes,
)
from models.training.pictures import Glimpse, draw_bland_altman, draw_glimpses, glimpse
from models.training.report import as_markdown
from models.training.summary import (
    AGREEMENTS,
    agreements,
    brief,
    losses_in_points,
    pairs,
    per_group,
    summarise,
    worst_cases,
)

WORST_DRAWN = 4
_WHOLE = {"acdc": acdc, "acdc_official": acdc, "mnms": mnms}  # every structure, every slice
_CHANGED_SETS = ("acdc", "mnms")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is measured, and what came out.

    Attributes
    ----------
    card : Card
        Of the model measured.
    part : {"test", "validation"}
    data : Path
        Folder of the labelled sets; a set that is absent is left out.
    say : callable
        Told each patient when it is done.
    scanner_changes : bool
        Also under simulated scanner changes, on `_CHANGED_SETS`, which takes ten times as long.
    patients, frames, changes : list of Row
        Per patient; per cine; per patient and simulated change.
    left_out : dict of str to str
        Cases that could not be used, with the reason.
    worst : dict of str to list of pairs of Glimpse
        Per set the patients with the lowest Dice, worst first: ED and ES.
    pooled : dict of str to dict of str to float
        Confusion of classes over all slices, exams or sheets of a kind.
    """

    card: Card
    part: Part
    data: Path
    say: Say = print
    scanner_changes: bool = True
    patients: list[Row] = field(default_factory=list)
    frames: list[Row] = field(default_factory=list)
    changes: list[Row] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    worst: dict[str, list[tuple[Glimpse, Glimpse]]] = field(default_factory=dict)
    pooled: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Keep the row of a patient, and tell it."""
        self.patients.append(row)
        self.say(progress(row))

    def of(self, dataset: str) -> list[Row]:
        """Rows of the patients of a set."""
        return [row for row in self.patients if row["dataset"] == dataset]

    def noting(self, dataset: str) -> Callable[[str, str], None]:
        """What `usable` tells of a set is kept in `left_out`."""
        return lambda name, reason: self.left_out.update({f"{dataset} {name}": reason})


def evaluate_segmenter(evaluation: Evaluation, service: Service) -> None:
    """Measure the chain with a segmenter in it, on one part of every cine set that is there."""
    _measure_volumes(evaluation, service)
    for row in _partly_labelled(evaluation, service):
        evaluation.add(row)
    evaluate_detector(evaluation, service)


def _measure_volumes(evaluation: Evaluation, service: Service) -> None:
    """Measure the fully labelled sets, and keep sight of their worst cases."""
    views: dict[str, list[tuple[float, tuple[Glimpse, Glimpse]]]] = {}
    for dataset, ed, es in _volumes(evaluation):
        found = label_pair(service, ed, es)
        row = row_of_volumes(dataset, ed, es, found)
        score = sum(value for key, value in row.items() if key.startswith("dice_"))
        view = glimpse(ed, found[0]), glimpse(es, found[1])
        views.setdefault(dataset, []).append((score, view))
        if evaluation.scanner_changes and dataset in _CHANGED_SETS:
            evaluation.changes.extend(rows_of_changes(service, dataset, ed, es))
        evaluation.add(row)
    for dataset, scored in views.items():
        scored.sort(key=lambda entry: entry[0])
        evaluation.worst[dataset] = [view for _, view in scored[:WORST_DRAWN]]


def _partly_labelled(evaluation: Evaluation, service: Service) -> Iterator[Row]:
    """Rows of the sets that label some slices, or give volumes alone."""
    data = evaluation.data
    for slices in usable(
        _names(evaluation, "sunnybrook"),
        partial(sunnybrook.read_patient, data),
        evaluation.noting("sunnybrook"),
    ):
        yield row_of_slices(service, slices)
    for study in usable(
        studies.names(data, evaluation.part),
        partial(studies.read_study, data),
        evaluation.noting("studies"),
    ):
        yield row_of_study(service, study)


def evaluate_localiser(evaluation: Evaluation, localiser: HeartLocaliser) -> None:
    """Measure a localiser on the fully labelled sets."""
    for dataset, ed, es in _volumes(evaluation):
        evaluation.add(row_of_localiser(localiser, dataset, ed, es))


def evaluate_regressor(evaluation: Evaluation, service: Service) -> None:
    """Measure volumes from volume alone on the fully labelled sets."""
    for dataset, ed, es in _volumes(evaluation):
        try:
            evaluation.add(row_of_regression(service, dataset, ed, es))
        except CaseError as error:
            evaluation.noting(dataset)(ed.patient, str(error))


def evaluate_detector(
    evaluation: Evaluation, service: Service, naive: Service | None = None
) -> None:
    """Measure how the service tells ED and ES of whole cines.

    `naive`, where a network tells them, is the same chain with the naive reading of it.
    """
    for row in _frame_rows(evaluation, service, naive):
        evaluation.frames.append(row)
        evaluation.say(progress(row))


def _names(evaluation: Evaluation, dataset: str) -> tuple[str, ...]:
    """Patients to measure of a set; none where it is not there."""
    data, part = evaluation.data, evaluation.part
    if dataset == "acdc_official":
        return acdc.official_test_patients(data) if part == "test" else ()
    return patients(data, dataset, part) if is_there(data, dataset) else ()


def _volumes(evaluation: Evaluation) -> Iterator[tuple[str, LabelledVolume, LabelledVolume]]:
    """ED and ES volumes of the fully labelled sets, one patient at a time."""
    for dataset, adapter in _WHOLE.items():
        read = partial(adapter.read_patient, evaluation.data)
        for ed, es in usable(_names(evaluation, dataset), read, evaluation.noting(dataset)):
            yield dataset, ed, es
    for seed in synthetic.SEEDS[evaluation.part]:
        ed, es = synthetic.synthetic_volumes(seed)
        yield "synthetic", ed, es


def _frame_rows(evaluation: Evaluation, service: Service, naive: Service | None) -> Iterator[Row]:
    """Errors of ED and ES of the patients whose whole cine is there."""
    for dataset, adapter in _WHOLE.items():

        def read(name: str, dataset: str = dataset, adapter: Any = adapter) -> Row:
            cine = adapter.read_cine(evaluation.data, name)
            return row_of_frames(service, dataset, cine, naive)

        note = evaluation.noting(f"{dataset} whole cine of")
        yield from usable(_names(evaluation, dataset), read, note)


def progress(row: Row) -> str:
    """One patient in a line of progress."""
    shown = (
        "dice_lv", "lv_ef_error", "lv_edv_error", "error_frames", "centre_error", "sensitivity",
        "specificity", "dice_infarct", "scar_percent", "accuracy",
    )  # fmt: skip
    figures = [
        f"{key} {value:.3g}" for key, value in row.items() if any(word in key for word in shown)
    ]
    return f"{row['dataset']} {row['patient']}: {', '.join(figures)}"


def write(evaluation: Evaluation, output: Path) -> Path:
    """Write an evaluation as JSON, Markdown and pictures; returns the Markdown file."""
    output.mkdir(parents=True, exist_ok=True)
    card = evaluation.card
    stem = output / f"evaluation-{card.name}-{evaluation.part}"
    content = as_content(evaluation)
    pictures = _draw(evaluation, stem)
    figures = json.dumps(_without_nan(content), indent=1)
    stem.with_suffix(".json").write_text(figures, encoding="utf-8")
    stem.with_suffix(".md").write_text(as_markdown(content, pictures), encoding="utf-8")
    return stem.with_suffix(".md")


def _draw(evaluation: Evaluation, stem: Path) -> dict[str, list[str]]:
    """Draw the pictures of each set; returns the names of their files."""
    drawn: dict[str, list[str]] = {}
    for dataset in dict.fromkeys(row["dataset"] for row in evaluation.patients):
        rows, files = evaluation.of(dataset), drawn.setdefault(dataset, [])
        if any(pairs(rows, quantity)[0] for quantity in AGREEMENTS):
            files.append(f"{stem.name}-{dataset}-agreement.png")
            draw_bland_altman(rows, stem.with_name(files[-1]))
        if dataset in evaluation.worst:
            files.append(f"{stem.name}-{dataset}-worst.png")
            draw_glimpses(evaluation.worst[dataset], stem.with_name(files[-1]))
    return drawn


def _without_nan(value: Any) -> Any:
    """The same value with None for what is not a number, which JSON cannot say."""
    if isinstance(value, dict):
        return {key: _without_nan(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def as_content(evaluation: Evaluation) -> dict[str, object]:
    """All figures of an evaluation, as the JSON file holds them."""
    card, summary = evaluation.card, summarise(evaluation.patients)
    frames = summarise(evaluation.frames)
    figures = {f"{evaluation.part}_{name}": brief(table) for name, table in summary.items()}
    figures |= {f"{evaluation.part}_{name}_frames": brief(table) for name, table in frames.items()}
    figures |= {f"{evaluation.part}_{name}": table for name, table in evaluation.pooled.items()}
    return {
        "model": card.name,
        "version": card.version,
        "task": card.task,
        "licence": card.licence,
        "weights_sha256": card.weights_sha256,
        "part": evaluation.part,
        "fitted_on": sorted(fitted_sets(card)),
        "card": figures,
        "sets": {
            name: {
                **_acquaintance(card, name),
                "summary": table,
                "agreement": agreements(evaluation.of(name)),
                "groups": per_group(evaluation.of(name)),
                "worst": worst_cases(evaluation.of(name)),
            }
            for name, table in summary.items()
        },
        "frames": {
            "sets": {name: _acquaintance(card, name) for name in frames},
            "summary": frames,
            "worst": worst_cases(evaluation.frames),
            "rows": evaluation.frames,
        },
        "pooled": evaluation.pooled,
        "scanner_change_loss_points": losses_in_points(evaluation.patients, evaluation.changes),
        "left_out": evaluation.left_out,
        "patients": evaluation.patients,
    }


def _acquaintance(card: Card, dataset: str) -> dict[str, bool]:
    """Whether the weights have seen a set, and whether its test patients stayed out."""
    return {
        "seen": dataset.removesuffix("_official") in fitted_sets(card),
        "held_out": dataset.endswith("_official") or is_held_out(card, dataset),
    }
