"""How the classifier of perfusion pictures is trained: class weights, mild changes, early stop."""

import math
from collections.abc import Mapping
from functools import partial

import torch
from torch import Generator, Tensor
from torch.nn import functional

from models.perfusion_classifier import network_input
from models.spect_sheet import LEVELS, SIDE
from models.synthetic.perfusion import KINDS
from models.training.augment import uniform
from models.training.image_class_task import ClassedImages, ImageClassTask
from models.training.spect_sets import PerfusionPicture, prepare_spect
from models.training.tasks import Recipe, TrainSettings, load_task

_TURN_DEG = 15.0
_SHIFT = 0.01  # of the side
_BRIGHTNESS = (0.8, 1.2)
_SHARES = {"perfusion_images": 1.0, "synthetic_spect": 1.0}


def _plain(case: PerfusionPicture) -> Tensor:
    return network_input(case.picture)


def changed(image: Tensor, generator: Generator) -> Tensor:
    """A picture [3, y, x] turned, shifted and lit a little differently; never mirrored."""
    turn = math.radians(uniform(-_TURN_DEG, _TURN_DEG, generator))
    right, down = (2 * uniform(-_SHIFT, _SHIFT, generator) for _ in range(2))
    cosine, sine = math.cos(turn), math.sin(turn)
    matrix = torch.tensor([[[cosine, -sine, right], [sine, cosine, down]]])
    places = functional.affine_grid(matrix, [1, *image.shape], align_corners=False)
    laid = functional.grid_sample(image[None], places, align_corners=False)[0]
    return (laid * uniform(*_BRIGHTNESS, generator)).clamp(0, 1)


def _drawn(case: PerfusionPicture, generator: Generator) -> Tensor:
    return changed(_plain(case), generator)


PICTURES: ClassedImages[PerfusionPicture] = ClassedImages(
    classes=KINDS, drawn=_drawn, plain=_plain, set_shares=_SHARES, weighted=True
)
SPECT_RECIPES: Mapping[str, Recipe] = {
    "spect_mobilenet": Recipe(
        task="perfusion_classification",
        architecture="mobilenet",
        parameters={"width_percent": 100, "classes": len(KINDS)},
        input={
            "rows": SIDE,
            "columns": SIDE,
            "classes": list(KINDS),
            "levels": list(LEVELS),
            "normalisation": "0 to 1, each view to the 98th percentile of its wall",
        },
        load=partial(load_task, partial(ImageClassTask, PICTURES), prepare_spect),
        settings=TrainSettings(
            steps=2_500,
            batch=16,
            optimiser="adam",
            learning_rate=5e-4,
            weight_decay=0.0,
            average_decay=0.99,
            validate_every=50,
            checkpoint_every=50,
            patience=6,
        ),
        sets=tuple(_SHARES),
    ),
}
