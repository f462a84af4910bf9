"""Train a model by its recipe, as `dicom-node train` does."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from models.initial import Freezable, load_initial
from models.registry import WeightsError, build
from models.training.data import REFIT, SETS, prepare_refit
from models.training.loop import fit
from models.training.recipes import RECIPES
from models.training.tasks import SolvedTask


def train(
    model: str,
    data: Path,
    output: Path,
    *,
    steps: int | None = None,
    seed: int = 0,
    threads: int = 0,
    device: str = "cpu",
    sets: tuple[str, ...] = SETS,
    initial: Path | None = None,
    refit: bool = False,
    say: Callable[[str], None] = print,
) -> Path:
    """Train a model, or go on where an earlier call with the same output stopped.

    Parameters
    ----------
    model : str
        One of `models.training.recipes.RECIPES`.
    data : Path
        Folder of the labelled sets.
    output : Path
        Folder of the run: array files in `prepared`, checkpoint, log and curve in `<model>`.
    steps : int, optional
        Other than the recipe's.
    seed, threads, device
        See `models.training.tasks.TrainSettings`.
    sets : tuple of str
        Sets to fit on, as far as the recipe can.
    initial : Path, optional
        Weights to start from (`models.initial.load_initial`); a run that goes on has its own. A
        network with a freeze schedule keeps its early layers as they are, also when it goes on.
    refit : bool
        Fit on every patient but those that are never fitted, once the figures were taken: array
        files in `prepared-refit`. For networks that learn from labelled slices.
    say : callable
        Told the progress.

    Returns
    -------
    Path
        Folder of the run of this model, for `models.training.export.export`.

    Raises
    ------
    WeightsError
        There is no recipe for the model, or the initial weights do not fit it.
    NoDataError
        None of the sets is there.
    """
    if model not in RECIPES:
        raise WeightsError(f"no recipe for model '{model}'; known: {', '.join(RECIPES)}")
    recipe = RECIPES[model]
    settings = replace(
        recipe.settings, steps=steps or recipe.settings.steps, seed=seed, threads=threads
    )
    chosen = tuple(name for name in sets if name in recipe.sets)
    prepared = output / (REFIT if refit else "prepared")
    if refit:
        prepare_refit(data, prepared, chosen)
    task = recipe.load(data, prepared, chosen)
    torch.manual_seed(seed)
    network = build(recipe.architecture, recipe.parameters)
    if initial is not None:
        load_initial(network, initial)
        if isinstance(network, Freezable):
            network.freeze()
    if isinstance(task, SolvedTask):
        _solve(task, network, output / model)
    else:
        fit(network, task, output / model, settings, device=device, say=say)
    return output / model


def _solve(task: SolvedTask, network: torch.nn.Module, folder: Path) -> None:
    """Solve a task that needs no steps; a checkpoint and a log as the training loop writes them."""
    figures = task.solve(network)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log.jsonl").write_text(json.dumps({"step": 0, **figures}) + "\n", encoding="utf-8")
    torch.save({"average": network.state_dict(), "step": 0}, folder / "checkpoint.pt")
