"""From a finished run to the weights and the card that ship: `python -m models.training.export`."""

import argparse
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.disease_classifier import TASK as DISEASE_TASK
from models.disease_classifier import reach
from models.picture_classifier import LEAST_FAMILIARITY, least_familiarity
from models.predict import grid_of, lv_evidence
from models.preprocess import CropGrid, crop, normalise
from models.registry import WEIGHTS_FOLDER, Card, build, card, save_weights
from models.split import Part
from models.training.cards import (
    DATA_OF_SET,
    OTHER_TEXTS,
    REFIT_NOTE,
    TEXTS,
    data_of_set,
    licence_of,
    write_card,
)
from models.training.data import REFIT, prepare
from models.training.disease_task import inputs_of
from models.training.emidec import as_hearts
from models.training.measure import scar_percent
from models.training.recipes import RECIPES
from models.training.slice_task import plain_batch, with_neighbours
from models.training.slices import LabelledSlice, allowed_bits
from models.training.tasks import Recipe

PICTURE_TASKS = ("ecg_classification", "perfusion_classification")


def export(
    model: str,
    data: Path,
    output: Path,
    *,
    version: str,
    folder: Path = WEIGHTS_FOLDER,
    sets: Collection[str] = tuple(DATA_OF_SET),
    refit: bool = False,
) -> Card:
    """Write weights and card of a run; figures are added by `add_metrics` once measured.

    Parameters
    ----------
    model : str
        One of `models.training.recipes.RECIPES`.
    data, output : Path
        As given to `models.training.train.train`.
    version : str
        Of the weights.
    folder : Path
        Where they go.
    sets : collection of str
        Sets the run was told to fit on; the card names those of them that were there.
    refit : bool
        The run fitted every patient: its card keeps the figures of the one that is in `folder`,
        if there is one, which were taken before.
    """
    recipe = RECIPES[model]
    network, step = _of_run(recipe, output / model / "checkpoint.pt")
    prepared = output / (REFIT if refit else "prepared")
    texts = dict(TEXTS.get(model, OTHER_TEXTS))
    metrics: Mapping[str, Any] = {"steps": step}
    if refit:
        texts["limits"] += REFIT_NOTE
        if (folder / f"{model}.toml").is_file():
            metrics = card(model, folder).metrics
    chosen = tuple(name for name in sets if name in recipe.sets)
    calibration = _calibration(recipe, network, partial(prepare, data, prepared, sets=chosen))
    if recipe.task in PICTURE_TASKS:
        calibration = _familiar(network, recipe.load(data, prepared, chosen))
    if recipe.task == DISEASE_TASK:
        calibration = reach(network, inputs_of(prepared, recipe))
    fitted = [name for name in chosen if any(prepared.glob(f"{name}-train*.npz"))]
    written = Card(
        name=model,
        version=version,
        task=recipe.task,
        licence=licence_of(fitted),
        data=tuple(data_of_set(entry, refit=refit) for entry in fitted),
        architecture=recipe.architecture,
        parameters=recipe.parameters,
        input=recipe.input,
        calibration=calibration,
        metrics=metrics,
        weights_file=f"{model}.npz",
        weights_sha256=save_weights(network, folder / f"{model}.npz"),
        **texts,
    )
    write_card(written, folder)
    return written


def _of_run(recipe: Recipe, checkpoint: Path) -> tuple[nn.Module, int]:
    """The averaged network of a run, its best if it has one, and the steps it was trained."""
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
    network = build(recipe.architecture, recipe.parameters)
    network.load_state_dict(stored.get("best", stored["average"]))
    return network.eval(), stored["step"]


def _familiar(network: nn.Module, task: Any) -> Mapping[str, float]:
    """What a picture of the validation is like to a classifier; nothing where there is none."""
    inputs = [task.images.plain(case) for case in task.validation]
    if not inputs:
        return {}
    with torch.inference_mode():
        logits = torch.cat([network(one[None]) for one in inputs])
    return {LEAST_FAMILIARITY: least_familiarity(logits)}


def _calibration(
    recipe: Recipe, network: nn.Module, slices_of: Callable[[Part], tuple[LabelledSlice, ...]]
) -> Mapping[str, float]:
    """Constants of the read-out, fitted to the slices of a part; none for most tasks."""
    if recipe.task == "localisation":
        return calibrate(network, grid_of(recipe.input), as_hearts(slices_of("validation")))
    if recipe.task == "scar_segmentation":
        both = (*slices_of("train"), *slices_of("validation"))
        real = [entry for entry in both if entry.dataset == "emidec"]
        return calibrate_infarct(network, recipe.input, real)
    return {}


def add_metrics(model: str, figures: Mapping[str, Any], folder: Path = WEIGHTS_FOLDER) -> Card:
    """Put measured figures on the card of a model."""
    before = card(model, folder)
    after = replace(before, metrics=dict(before.metrics) | dict(figures))
    write_card(after, folder)
    return after


def calibrate(
    network: nn.Module, grid: CropGrid, slices: Sequence[LabelledSlice]
) -> Mapping[str, float]:
    """Logistic calibration of the slice evidence on validation slices.

    Positives are slices that show the LV; negatives are slices of the stacks that do not, and
    crops from which the heart was cut away. Both classes weigh the same.

    Returns
    -------
    mapping
        `slope` and `intercept` of the log odds over `lv_evidence`.
    """
    evidence, shows = [], []
    for entry in slices:
        image = torch.from_numpy(entry.image)[None, None].float()
        evidence.append(_evidence(network, image, entry, grid))
        shows.append(entry.shows_lv)
        evidence.append(_evidence(network, _without_heart(image, entry), entry, grid))
        shows.append(False)
    slope, intercept = fit_logistic(np.array(evidence), np.array(shows))
    return {"slope": round(slope, 4), "intercept": round(intercept, 4)}


def calibrate_infarct(
    network: nn.Module, geometry: Mapping[str, Any], slices: Iterable[LabelledSlice]
) -> Mapping[str, float]:
    """Logistic calibration of an infarct in an exam over its scar in percent of the myocardium.

    Parameters
    ----------
    network : Module
        A scar segmenter in evaluation mode.
    geometry : mapping
        `input` of its recipe.
    slices : iterable of LabelledSlice
        With the labels of EMIDEC, of patients with and without infarct.

    Returns
    -------
    mapping
        `infarct_slope` and `infarct_intercept` of the log odds; `infarct_accuracy` of exams left
        out of the fit one by one; empty where all exams are alike.
    """
    percent, infarct = [], []
    for _, stack in groupby(slices, lambda entry: entry.stack):
        groups = with_neighbours(stack, geometry["context"])
        images, allowed = plain_batch(groups, grid_of(geometry))
        with torch.inference_mode():
            found = network(images).argmax(dim=1)
        percent.append(scar_percent(found.numpy().astype(np.uint8)))
        infarct.append(bool((allowed >= allowed_bits(3)).any()))
    evidence, truth = np.array(percent), np.array(infarct)
    if truth.all() or not truth.any():
        return {}
    slope, intercept = fit_logistic(evidence, truth)
    right = []
    for left_out in range(len(truth)):
        others = np.arange(len(truth)) != left_out
        log_odds = np.polyval(fit_logistic(evidence[others], truth[others]), evidence[left_out])
        right.append((log_odds >= 0) == truth[left_out])
    figures = {"slope": slope, "intercept": intercept, "accuracy": float(np.mean(right))}
    return {f"infarct_{name}": round(value, 4) for name, value in figures.items()}


def _evidence(
    network: nn.Module, image: torch.Tensor, entry: LabelledSlice, grid: CropGrid
) -> float:
    inputs = normalise(crop(image, entry.pixel_spacing_mm, entry.centre_yx, grid))
    with torch.inference_mode():
        probability = network(inputs).softmax(dim=1)[:, 1:3].sum(dim=1)
    return float(lv_evidence(probability)[0])


def _without_heart(image: torch.Tensor, entry: LabelledSlice) -> torch.Tensor:
    """The image with everything within 80 mm of the heart in columns cut off."""
    cut = image.clone()
    column, reach = entry.centre_yx[1], 80 / entry.pixel_spacing_mm[1]
    cut[..., max(int(column - reach), 0) : int(column + reach)] = 0
    return cut


def fit_logistic(
    evidence: np.ndarray[Any, np.dtype[np.float64]], shows: np.ndarray[Any, np.dtype[np.bool_]]
) -> tuple[float, float]:
    """Slope and intercept of a class-balanced logistic regression (Newton, small ridge)."""
    weights = np.where(shows, 0.5 / max(shows.sum(), 1), 0.5 / max((~shows).sum(), 1))
    design = np.stack([evidence, np.ones_like(evidence)], axis=1)
    solution = np.zeros(2)
    for _ in range(50):
        probability = 1 / (1 + np.exp(-np.clip(design @ solution, -30, 30)))
        slack = 1e-3 * np.array([1.0, 0.0])
        gradient = design.T @ (weights * (probability - shows)) + slack * solution
        curvature = (design * (weights * probability * (1 - probability))[:, None]).T @ design
        solution = solution - np.linalg.solve(curvature + np.diag(slack + 1e-9), gradient)
    return float(solution[0]), float(solution[1])


def main() -> None:
    """Command line of `export` and `add_metrics`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=list(RECIPES))
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--version", required=True)
    parser.add_argument("--refit", action="store_true", help="the run was a refit")
    parser.add_argument("--figures", type=Path, help="evaluation to put on the card instead")
    given = parser.parse_args()
    if given.figures:
        figures = json.loads(given.figures.read_text(encoding="utf-8"))
        add_metrics(given.model, figures["card"])
    else:
        export(given.model, given.data, given.output, version=given.version, refit=given.refit)


if __name__ == "__main__":
    main()
