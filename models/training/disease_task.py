"""How the two classifiers of disease groups are trained: on measured numbers, and on images."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor, nn

from models.disease_classifier import TASK, heart_input, in_three_channels
from models.disease_groups import CLASSES
from models.preprocess import CropGrid, clip_to_unit, crop
from models.split import Part
from models.training.augment import change_appearance, moved, random_matrix
from models.training.hearts import HeartCase, HeartSlice, read_hearts, slices_of
from models.training.image_class_task import ClassedImages, ImageClassTask
from models.training.tasks import NORMALISATION, NoDataError, Recipe, TrainSettings, load_task

Numbers = npt.NDArray[np.float64]

FEATURES = (
    *("log_lv_edv", "log_rv_edv", "log_lv_mass", "lv_ef", "rv_ef"),
    *("log_rv_lv_ed", "log_rv_lv_es", "log_mass_volume_ed", "log_mass_volume_es"),
    *("wall_ed_mean", "wall_ed_high", "wall_ed_sd", "wall_es_mean", "wall_es_high", "wall_es_sd"),
    *("thickening_mean", "thickening_low", "thickening_sd", "thickening_share", "still_share"),
)
"""Those of `pipeline.disease.disease_features` that the numbers' classifier looks at."""
_PENALTY = 1.0  # inverse strength of the ridge: chosen by cross-validation of training patients
_GRID = CropGrid(rows=112, columns=112, spacing_mm=1.4)
_SETS = {"acdc": 1.0}
_REACH_MM, _MAX_SCALE = 8.0, 1.1
_FOLDS, _REPEATS = 7, 6  # of the cross-validation
_LEARNED_FROM: tuple[Part, ...] = ("train", "validation")


class BiomarkerTask:
    """Multinomial logistic regression with a ridge, solved at once.

    Raises
    ------
    NoDataError
        A class has no heart to learn from.
    """

    def __init__(self, train: Sequence[HeartCase], validation: Sequence[HeartCase]) -> None:
        missing = set(range(len(CLASSES))) - {case.label for case in train}
        if missing:
            names = ", ".join(CLASSES[label] for label in sorted(missing))
            raise NoDataError(f"nothing to learn from of class: {names}")
        self.train, self.validation = tuple(train), tuple(validation)

    def solve(self, network: nn.Module) -> Mapping[str, float]:
        """Put the solution into the network.

        Returns
        -------
        mapping
            `cross_validated`: accuracy over the patients to learn from, each told by a solution of
            others; `accuracy` on the validation patients, where there are any.
        """
        numbers, labels = _numbers(self.train), [case.label for case in self.train]
        mean, spread = numbers.mean(axis=0), numbers.std(axis=0)
        solver = _solver().fit((numbers - mean) / spread, labels)
        solution = {
            "mean": mean, "spread": spread,
            "head.weight": solver.coef_, "head.bias": solver.intercept_,
        }  # fmt: skip
        network.load_state_dict({name: torch.from_numpy(value) for name, value in solution.items()})
        figures = _cross_validated(numbers, labels)
        if self.validation:
            truth = torch.tensor([case.label for case in self.validation])
            with torch.inference_mode():
                found = network(torch.from_numpy(_numbers(self.validation)).float()).argmax(dim=1)
            figures["accuracy"] = round(float((found == truth).float().mean()), 4)
        return figures


def _solver() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=_PENALTY, max_iter=10_000, tol=1e-6)


def _cross_validated(numbers: Numbers, labels: Sequence[int]) -> dict[str, float]:
    """Accuracy over repeated folds, as many as the smallest class allows; none of fewer than 2."""
    from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = min(_FOLDS, *(labels.count(label) for label in set(labels)))
    if folds < 2:
        return {}
    dealt = RepeatedStratifiedKFold(n_splits=folds, n_repeats=_REPEATS, random_state=0)
    model = make_pipeline(StandardScaler(), _solver())
    return {
        "cross_validated": round(float(cross_val_score(model, numbers, labels, cv=dealt).mean()), 4)
    }


def _numbers(cases: Sequence[HeartCase]) -> Numbers:
    return np.array([[case.features[name] for name in FEATURES] for case in cases])


def _plain(case: HeartSlice) -> Tensor:
    images = torch.from_numpy(case.images)[None].float()
    return in_three_channels(crop(images, case.pixel_spacing_mm, case.centre_yx, _GRID))[0]


def _drawn(case: HeartSlice, generator: Generator) -> Tensor:
    """A slice turned, moved, a little larger or smaller, and as another scanner would show it."""
    centre = moved(case.centre_yx, case.pixel_spacing_mm, _REACH_MM, generator)
    matrix = random_matrix(generator, _MAX_SCALE, turned=0.2, mirrored=0.0)
    images = torch.from_numpy(case.images)[None].float()
    laid = crop(images, case.pixel_spacing_mm, centre, _GRID, matrix=matrix)
    return in_three_channels(change_appearance(clip_to_unit(laid), None, generator))[0]


SLICES: ClassedImages[HeartSlice] = ClassedImages(
    classes=CLASSES, drawn=_drawn, plain=_plain, set_shares=_SETS, label_smoothing=0.1
)


class HeartSliceTask(ImageClassTask[HeartSlice]):
    """`ImageClassTask` over the slices of hearts."""

    def __init__(self, train: Sequence[HeartCase], validation: Sequence[HeartCase]) -> None:
        train_slices, others = (
            [entry for case in cases for entry in slices_of(case)] for cases in (train, validation)
        )
        super().__init__(SLICES, train_slices, others)


def inputs_of(prepared: Path, recipe: Recipe) -> list[Tensor]:
    """Inputs of the network made of each heart to learn from and to choose by."""
    parts = (read_hearts(prepared, prepared, part, recipe.sets) for part in _LEARNED_FROM)
    return [heart_input(case.view, recipe.input) for cases in parts for case in cases]


DISEASE_RECIPES: Mapping[str, Recipe] = {
    "cine_disease_biomarkers": Recipe(
        task=TASK,
        architecture="logistic_regression",
        parameters={"features": len(FEATURES), "classes": len(CLASSES)},
        input={"classes": list(CLASSES), "features": list(FEATURES)},
        load=partial(load_task, BiomarkerTask, read_hearts),
        sets=tuple(_SETS),
    ),
    "cine_disease_images": Recipe(
        task=TASK,
        architecture="resnet50v2",
        parameters={"width_percent": 50, "classes": len(CLASSES)},
        input={
            "rows": _GRID.rows,
            "columns": _GRID.columns,
            "spacing_mm": _GRID.spacing_mm,
            "supersample": _GRID.supersample,
            "classes": list(CLASSES),
            "normalisation": NORMALISATION,
        },
        load=partial(load_task, HeartSliceTask, read_hearts),
        settings=TrainSettings(
            steps=2_000, batch=32, learning_rate=1e-3, validate_every=100, patience=8,
            average_decay=0.99,
        ),
        sets=tuple(_SETS),
    ),
}  # fmt: skip
