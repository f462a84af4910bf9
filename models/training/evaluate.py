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
from models.training.cases import LabelledVolume, usable
from models.training.data import is_there, patients
from models.training.measure import (
    Row,
    Service,
    label_pair,
    row_of_frames,
    row_of_localiser,
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
_CHANGED_SETS = ("acdc", "mnms")  # whole hearts of real patients, every structure labelled

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured.

    Attributes
    ----------
    card : Card
        Of the model measured.
    part : Part
    patients, frames, changes : list of Row
        Per patient; per cine; per patient and simulated change.
    left_out : dict of str to str
        Cases that could not be used, with the reason.
    worst : dict of str to list of pairs of Glimpse
        Per set the patients with the lowest Dice, worst first: ED and ES.
    """

    card: Card
    part: Part
    patients: list[Row] = field(default_factory=list)
    frames: list[Row] = field(default_factory=list)
    changes: list[Row] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    worst: dict[str, list[tuple[Glimpse, Glimpse]]] = field(default_factory=dict)

    def of(self, dataset: str) -> list[Row]:
        """Rows of the patients of a set."""
        return [row for row in self.patients if row["dataset"] == dataset]


def evaluate(
    service: Service,
    data: Path,
    output: Path,
    *,
    part: Part = "test",
    scanner_changes: bool = True,
    say: Say = print,
) -> Path:
    """Measure a segmenter on one part of every set that is there.

    Parameters
    ----------
    service : Service
        The chain with the segmenter in it.
    data : Path
        Folder of the labelled sets; a set that is absent is left out.
    output : Path
        Folder for `evaluation-<model>-<part>` as `.json`, `.md` and pictures.
    part : {"test", "validation"}
    scanner_changes : bool
        Also under simulated scanner changes, which takes ten times as long.
    say : callable
        Told each patient when it is done.

    Returns
    -------
    Path
        The Markdown report.
    """
    evaluation = Evaluation(service.card, part)
    views: dict[str, list[tuple[float, tuple[Glimpse, Glimpse]]]] = {}

    def done(row: Row) -> None:
        evaluation.patients.append(row)
        say(_line(row))

    for dataset, ed, es in _volumes(data, part, evaluation.left_out):
        found = label_pair(service, ed, es)
        row = row_of_volumes(dataset, ed, es, found)
        score = sum(value for key, value in row.items() if key.startswith("dice_"))
        view = glimpse(ed, found[0]), glimpse(es, found[1])
        views.setdefault(dataset, []).append((score, view))
        if scanner_changes and dataset in _CHANGED_SETS:
            evaluation.changes.extend(rows_of_changes(service, dataset, ed, es))
        done(row)
    for slices in _sunnybrook(data, part, evaluation.left_out):
        done(row_of_slices(service, slices))
    for study in usable(
        studies.names(data, part),
        partial(studies.read_study, data),
        _noting(evaluation.left_out, "studies"),
    ):
        done(row_of_study(service, study))
    for row in _frame_rows(service, data, part, evaluation.left_out):
        evaluation.frames.append(row)
        say(_line(row))
    for dataset, scored in views.items():
        scored.sort(key=lambda entry: entry[0])
        evaluation.worst[dataset] = [view for _, view in scored[:WORST_DRAWN]]
    return write(evaluation, output)


def evaluate_localiser(
    localiser: HeartLocaliser,
    data: Path,
    output: Path,
    *,
    part: Part = "test",
    say: Say = print,
) -> Path:
    """Measure the localiser on the fully labelled sets; files as `evaluate` writes them."""
    evaluation = Evaluation(localiser.card, part)
    for dataset, ed, es in _volumes(data, part, evaluation.left_out):
        row = row_of_localiser(localiser, dataset, ed, es)
        evaluation.patients.append(row)
        say(_line(row))
    return write(evaluation, output)


def _noting(left_out: dict[str, str], dataset: str) -> Callable[[str, str], None]:
    return lambda name, reason: left_out.update({f"{dataset} {name}": reason})


def _volumes(
    data: Path, part: Part, left_out: dict[str, str]
) -> Iterator[tuple[str, LabelledVolume, LabelledVolume]]:
    """ED and ES volumes of the fully labelled sets, one patient at a time."""
    official = acdc.official_test_patients(data) if part == "test" else ()
    listed = {
        "acdc": patients(data, "acdc", part) if is_there(data, "acdc") else (),
        "acdc_official": official,
        "mnms": patients(data, "mnms", part) if is_there(data, "mnms") else (),
    }
    for dataset, names in listed.items():
        read = mnms.read_patient if dataset == "mnms" else acdc.read_patient
        for ed, es in usable(names, partial(read, data), _noting(left_out, dataset)):
            yield dataset, ed, es
    for seed in synthetic.SEEDS[part]:
        ed, es = synthetic.synthetic_volumes(seed)
        yield "synthetic", ed, es


def _sunnybrook(
    data: Path, part: Part, left_out: dict[str, str]
) -> Iterator[tuple[sunnybrook.LabelledImage, ...]]:
    names = patients(data, "sunnybrook", part) if is_there(data, "sunnybrook") else ()
    for name in names:
        slices = sunnybrook.read_patient(data, name)
        if {entry.phase for entry in slices} == {"ed", "es"}:
            yield slices
        else:
            left_out[f"sunnybrook {name}"] = "labelled slices of both ED and ES are needed"


def _frame_rows(
    service: Service, data: Path, part: Part, left_out: dict[str, str]
) -> Iterator[Row]:
    """Errors of ED and ES of the patients of ACDC whose whole cine is there."""
    if is_there(data, "acdc"):
        yield from usable(
            patients(data, "acdc", part),
            lambda name: row_of_frames(service, "acdc", acdc.read_cine(data, name)),
            _noting(left_out, "acdc whole cine of"),
        )


def _line(row: Row) -> str:
    """One patient in a line of progress."""
    shown = ("dice_lv", "lv_ef_error", "lv_edv_error", "error_frames", "centre_error")
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
    fitted = fitted_sets(card)
    figures = {f"{evaluation.part}_{name}": brief(table) for name, table in summary.items()}
    figures |= {f"{evaluation.part}_{name}_frames": brief(table) for name, table in frames.items()}
    return {
        "model": card.name,
        "version": card.version,
        "licence": card.licence,
        "weights_sha256": card.weights_sha256,
        "part": evaluation.part,
        "fitted_on": sorted(fitted),
        "card": figures,
        "sets": {
            name: {
                "seen": name.removesuffix("_official") in fitted,
                "held_out": name.endswith("_official") or is_held_out(card, name),
                "summary": table,
                "agreement": agreements(evaluation.of(name)),
                "groups": per_group(evaluation.of(name)),
                "worst": worst_cases(evaluation.of(name)),
            }
            for name, table in summary.items()
        },
        "frames": {
            "summary": frames,
            "worst": worst_cases(evaluation.frames),
            "rows": evaluation.frames,
        },
        "scanner_change_loss_points": losses_in_points(evaluation.patients, evaluation.changes),
        "left_out": evaluation.left_out,
        "patients": evaluation.patients,
    }
