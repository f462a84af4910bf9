"""Segmentation networks that each leave a fold of the patients out, to see those as new ones.

A classifier that is to learn from what a network measures must learn from patients that this
network never saw: on those that it was fitted on it errs less than it ever will in service.
"""

import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from models.split import Part
from models.training.data import prepare
from models.training.export import export
from models.training.recipes import RECIPES
from models.training.slices import write_slices
from models.training.train import train

_PREPARED = "prepared"
_PARTS: tuple[Part, ...] = ("train", "validation")


def folds_of(groups: Mapping[str, str], count: int) -> tuple[tuple[str, ...], ...]:
    """Deal patients into so many folds, each group evenly.

    Parameters
    ----------
    groups : mapping of str to str
        Group of each patient.
    count : int
    """
    dealt = sorted(groups, key=lambda patient: (groups[patient], patient))
    return tuple(tuple(dealt[first::count]) for first in range(count))


def train_without(
    model: str,
    left_out: Collection[str],
    data: Path,
    output: Path,
    *,
    steps: int,
    device: str = "cpu",
    say: Callable[[str], None] = print,
) -> Path:
    """Train a slice network by its recipe on the train part less some patients; goes on after stop.

    Parameters
    ----------
    model : str
        One of `models.training.recipes.RECIPES` that learns from labelled slices.
    left_out : collection of str
        Patients, whatever their set.
    data, steps, device, say
        As `models.training.train.train` takes them.
    output : Path
        Folder of this run; array files of all patients are kept in `prepared` beside it.

    Returns
    -------
    Path
        Folder of its card and weights.
    """
    sets = RECIPES[model].sets
    if not (output / _PREPARED).is_dir():
        unfinished = output / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        for part in _PARTS:
            slices = prepare(data, output.parent / _PREPARED, part, sets)
            kept = [entry for entry in slices if part != "train" or entry.patient not in left_out]
            for dataset in dict.fromkeys(entry.dataset for entry in kept):
                of_set = [entry for entry in kept if entry.dataset == dataset]
                write_slices(unfinished / f"{dataset}-{part}.npz", of_set)
        unfinished.rename(output / _PREPARED)
    # A set of which nothing is left would be read anew, those left out with it.
    sets = tuple(name for name in sets if (output / _PREPARED / f"{name}-train.npz").is_file())
    folder = train(model, data, output, steps=steps, sets=sets, device=device, say=say)
    export(model, data, output, version="fold", folder=folder, sets=sets)
    return folder
