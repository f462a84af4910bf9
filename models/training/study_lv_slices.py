"""Study of the slice classifier: where batch normalisation goes, which optimiser, which network.

The design of the De-CMR study (arrangements A1 to A3; Adam and SGD with momentum at three rates;
three well-known networks), but folds are drawn by patient, slices are augmented at every draw,
and no network was trained before: its figures and these do not compare.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Literal

import numpy as np
import torch
from torch import nn

from models.registry import build
from models.training.cases import logged
from models.training.data import prepare, slices_by_patient
from models.training.emidec import SAME_EXAM, as_hearts
from models.training.loop import fit
from models.training.slice_class_task import (
    LGE_SLICES,
    PAPER_SETTINGS,
    SLICE_SETS,
    SliceClassTask,
    slice_figures,
)
from models.training.slices import LabelledSlice
from models.training.tasks import TrainSettings
from models.training.whole_slices import WholeSlice, plain_slices

FOLDS = 5
PUBLISHED = {
    "A1": 83.1, "A2": 88.4, "A3": 87.0, "AlexNet": 87.0, "SqueezeNet": 92.6, "GoogLeNet": 93.0,
}  # fmt: skip
_ARRANGEMENTS: Mapping[str, int] = {"A1": 1, "A2": 2, "A3": 3}
_LARGE = ("SqueezeNet", "AlexNet", "GoogLeNet")
_SHOWN = ("balanced_accuracy", "accuracy", "precision", "recall", "specificity", "f1")
_CURVE_POINTS = 8
_QUICK_STEPS, _QUICK_SHARE = 8, 12  # steps, and one patient in so many


@dataclass(frozen=True, slots=True)
class Run:
    """One training of the study."""

    network: str
    optimiser: Literal["adam", "sgd"]
    rate: float
    fold: int

    @property
    def name(self) -> str:
        """Folder of the run."""
        return f"{self.setting}-fold{self.fold}"

    @property
    def setting(self) -> str:
        """What the folds of a setting share."""
        return f"{self.network}-{self.optimiser}-{self.rate:g}"

    def build(self) -> nn.Module:
        """The network with initial weights."""
        if self.network in _ARRANGEMENTS:
            return build("slice_cnn", {"arrangement": _ARRANGEMENTS[self.network]})
        return build(self.network.lower(), {})


def runs() -> tuple[Run, ...]:
    """Every training: arrangements over all folds, optimisers and large networks on the first."""
    arrangements = [
        Run(name, "adam", 1e-4, fold) for fold, name in product(range(FOLDS), _ARRANGEMENTS)
    ]
    optimisers: tuple[Literal["adam", "sgd"], ...] = ("adam", "sgd")
    grid = [Run(*choice, 0) for choice in product(("A1", "A2"), optimisers, (1e-4, 1e-3, 1e-2))]
    large = [Run(name, "adam", 1e-4, 0) for name in _LARGE]
    return tuple(dict.fromkeys([*arrangements, *grid, *large]))


def study_lv_slices(
    data: Path,
    output: Path,
    *,
    steps: int = 2_000,
    quick: bool = False,
    threads: int = 0,
    device: str = "cpu",
    say: Callable[[str], None] = print,
) -> Path:
    """Carry out the study, or go on where an earlier call with the same output stopped.

    Parameters
    ----------
    data : Path
        Folder of the labelled sets.
    output : Path
        Folder for the runs, `study.json`, `study.md` and `curves.png`.
    steps : int
        Of each training, 16 slices each.
    quick : bool
        A few steps on few patients, to see it work; the report says so.
    threads, device
        See `models.training.tasks.TrainSettings`.
    say : callable
        Told each run when it is done.

    Returns
    -------
    Path
        The Markdown report.
    """
    folder = output / ("lv-slices-quick" if quick else "lv-slices")
    settings = replace(PAPER_SETTINGS, steps=_QUICK_STEPS if quick else steps, threads=threads)
    settings = replace(settings, validate_every=max(settings.steps // _CURVE_POINTS, 1))
    share = _QUICK_SHARE if quick else 1
    fitted = [
        entry
        for part in ("train", "validation")
        for entry in prepare(data, output / "prepared", part, SLICE_SETS)
    ]
    fitted = _thinned(fitted, share)
    held_out = tuple(plain_slices(as_hearts(_thinned(_test_slices(data), share))))
    results = {}
    for run in runs():
        path = folder / run.name / "result.json"
        if not path.is_file():
            figures = _carried_out(
                run, fitted, held_out, folder=path.parent, settings=settings, device=device
            )
            path.write_text(json.dumps(figures, indent=1), encoding="utf-8")
        results[run] = json.loads(path.read_text(encoding="utf-8"))
        say(f"{run.name}: balanced accuracy {results[run]['fold'].get('balanced_accuracy')}")
    return write_study(results, folder, settings.steps, quick=quick)


def _thinned(slices: Iterable[LabelledSlice], share: int) -> list[LabelledSlice]:
    """Slices of every so-many-th patient of each set."""
    kept = list(slices)
    names = sorted({(entry.dataset, entry.patient) for entry in kept})[::share]
    return [entry for entry in kept if (entry.dataset, entry.patient) in set(names)]


def _test_slices(data: Path) -> Iterator[LabelledSlice]:
    for dataset in SLICE_SETS:
        for slices in slices_by_patient(data, dataset, "test", logged(dataset)):
            yield from slices


def fold_of(patients: Iterable[str]) -> Mapping[str, int]:
    """Fold of each patient: shuffled once for all, then dealt; equal names are one patient."""
    names = set(patients)
    distinct = sorted({SAME_EXAM.get(name, name) for name in names})
    shuffled = np.random.default_rng(0).permutation(distinct).tolist()
    folds = {name: index % FOLDS for index, name in enumerate(shuffled)}
    return {name: folds[SAME_EXAM.get(name, name)] for name in names}


def _carried_out(
    run: Run,
    fitted: Sequence[LabelledSlice],
    held_out: Sequence[WholeSlice],
    *,
    folder: Path,
    settings: TrainSettings,
    device: str,
) -> Mapping[str, Mapping[str, float]]:
    """Figures of a run on its own fold and on the held-out patients."""
    folds = fold_of(entry.patient for entry in fitted)
    inner = [entry for entry in fitted if folds[entry.patient] != run.fold]
    outer = [entry for entry in fitted if folds[entry.patient] == run.fold]
    task = SliceClassTask(LGE_SLICES, inner, outer)
    torch.manual_seed(run.fold)
    network = run.build()
    chosen = replace(settings, optimiser=run.optimiser, learning_rate=run.rate, seed=run.fold)
    fit(network, task, folder, chosen, device=device)
    network.eval()
    return {
        "fold": task.validate(network, device),
        "test": slice_figures(network, held_out, device),
    }


def write_study(
    results: Mapping[Run, Mapping[str, Mapping[str, float]]],
    folder: Path,
    steps: int,
    *,
    quick: bool,
) -> Path:
    """Write table and curves of the runs; returns the Markdown file."""
    settings: dict[str, list[Run]] = {}
    for run in results:
        settings.setdefault(run.setting, []).append(run)
    arrangements = {name: runs_of for name, runs_of in settings.items() if len(runs_of) == FOLDS}
    draw_curves(arrangements, folder)
    best = max(arrangements, key=lambda name: _mean(results, arrangements[name]))
    lines = [
        "# LV slices: arrangements, optimisers, networks",
        "",
        *(["**Quick run: it shows that the study works; its figures mean nothing.**", ""] * quick),
        f"{steps} steps of {PAPER_SETTINGS.batch} slices each, no pretrained weights, folds and "
        "held-out patients by patient. Published: accuracy in percent on another set, split by "
        "slice; large networks pretrained. These figures do not compare.",
        "Slices without LV of late enhancement are made of cine slices, or synthetic.",
        f"Best over its folds: {best}.",
        "",
        "| setting | folds | balanced accuracy, own fold | "
        + " | ".join(f"{key}, held out" for key in _SHOWN)
        + " | n LV / without | published |",
        "|" + "---|" * (len(_SHOWN) + 5),
        *(_line(name, [results[run] for run in runs_of]) for name, runs_of in settings.items()),
        "",
        "![curves.png](curves.png)",
    ]
    report = folder / "study.md"
    report.write_text("\n".join(lines) + "\n", encoding="utf-8")
    content = {"quick": quick, "steps": steps, "runs": {run.name: results[run] for run in results}}
    (folder / "study.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    return report


def _mean(results: Mapping[Run, Mapping[str, Mapping[str, float]]], chosen: Sequence[Run]) -> float:
    return fmean(results[run]["fold"].get("balanced_accuracy", 0.0) for run in chosen)


def _line(name: str, figures: Sequence[Mapping[str, Mapping[str, float]]]) -> str:
    """One row of the table: means over the folds, with their SD where there are several."""

    def shown(part: str, key: str) -> str:
        values = [entry[part][key] for entry in figures if key in entry[part]]
        spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
        return f"{fmean(values):.3f}{spread}" if values else ""

    test = figures[0]["test"]
    positive = test["true_positive"] + test["false_negative"]
    negative = test["true_negative"] + test["false_positive"]
    network = name.partition("-")[0]
    published = PUBLISHED.get(network, "") if name.endswith("adam-0.0001") else ""
    cells = [
        name,
        str(len(figures)),
        shown("fold", "balanced_accuracy"),
        *(shown("test", key) for key in _SHOWN),
        f"{positive:.0f} / {negative:.0f}",
        str(published),
    ]
    return f"| {' | '.join(cells)} |"


def draw_curves(settings: Mapping[str, Sequence[Run]], folder: Path) -> None:
    """Draw loss and balanced accuracy over the steps, the mean over the folds of a setting."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    axes = figure.subplots(1, 3)
    keys = ("loss", "cross_entropy", "balanced_accuracy")
    for name, chosen in settings.items():
        logs = [_log(folder / run.name / "log.jsonl") for run in chosen]
        steps = [entry["step"] for entry in logs[0]]
        for axis, key in zip(axes, keys, strict=True):
            values = [[entry.get(key, float("nan")) for entry in log] for log in logs]
            axis.plot(steps, np.mean(values, axis=0), label=name)
    for axis, title in zip(axes, ("training loss", "loss of own fold", keys[2]), strict=True):
        axis.set(title=title, xlabel="step")
    axes[2].legend()
    figure.savefig(folder / "curves.png", dpi=110)


def _log(path: Path) -> list[dict[str, float]]:
    """Entries of a run's log, a step that was done twice but once."""
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return list({entry["step"]: entry for entry in entries}.values())
