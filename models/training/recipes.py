"""What is trained for each model: network, input, task."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial

from models.preprocess import CropGrid
from models.training.data import prepare
from models.training.disease_task import DISEASE_RECIPES
from models.training.ecg_task import ECG_RECIPES
from models.training.ed_es_task import ED_ES_RECIPES
from models.training.emidec import CLASSES as SCAR_CLASSES
from models.training.regression_task import REGRESSION_RECIPES
from models.training.slice_class_task import SLICE_CLASS_RECIPES
from models.training.slice_task import SliceSampling, SliceTask
from models.training.spect_task import SPECT_RECIPES
from models.training.tasks import NORMALISATION, Recipe, TrainSettings, load_task
from models.training.window_task import WINDOW_RECIPES


def slice_recipe(
    task: str,
    architecture: str,
    parameters: Mapping[str, int],
    sampling: SliceSampling,
    settings: TrainSettings | None = None,
) -> Recipe:
    """Recipe of a network that labels single slices, with or without their neighbours."""
    geometry = asdict(sampling.grid) | {
        "context": sampling.context,
        "normalisation": NORMALISATION,
    }
    return Recipe(
        task=task,
        architecture=architecture,
        parameters=parameters,
        input=geometry,
        load=partial(load_task, partial(SliceTask, sampling), prepare),
        settings=settings or TrainSettings(),
        sets=tuple(sampling.set_shares),
    )


def _localiser(sampling: SliceSampling, settings: TrainSettings | None = None) -> Recipe:
    """Recipe of a network that finds the LV in whole images."""
    parameters = {"width": 8, "levels": 5, "classes": 4}
    return slice_recipe("localisation", "unet_2d", parameters, sampling, settings)


_WHOLE_IMAGES = SliceSampling(
    CropGrid(rows=128, columns=128, spacing_mm=3.0, supersample=2),
    max_shift_mm=170.0,
    max_scale=1.25,
)
RECIPES: Mapping[str, Recipe] = {
    "cine_unet": slice_recipe(
        "segmentation",
        "unet_2d",
        {"width": 16, "levels": 5, "classes": 4},
        SliceSampling(CropGrid(rows=128, columns=128, spacing_mm=1.5), max_shift_mm=22.0),
    ),
    "cine_residual_unet": slice_recipe(
        "segmentation",
        "residual_unet_2d",
        {"slices": 3, "width": 16, "widest": 256, "levels": 5, "classes": 4},
        SliceSampling(
            CropGrid(rows=144, columns=144, spacing_mm=1.4),
            max_shift_mm=22.0,
            max_scale=1.2,
            empty_share=0.08,
            context=1,
        ),
        TrainSettings(steps=9_000, validate_every=1000),
    ),
    "heart_localiser": _localiser(_WHOLE_IMAGES),
    "lge_localiser": _localiser(
        replace(
            _WHOLE_IMAGES,
            lge_share=0.85,
            set_shares={"emidec": 0.5, "acdc": 0.4, "mnms": 0.4, "synthetic_lge": 0.1},
        ),
        TrainSettings(steps=8_000),
    ),
    "lge_scar": slice_recipe(
        "scar_segmentation",
        "residual_unet_2d",
        {"slices": 3, "width": 16, "widest": 256, "levels": 5, "classes": 5},
        SliceSampling(
            CropGrid(rows=128, columns=128, spacing_mm=1.1),
            max_shift_mm=14.0,
            max_scale=1.09,
            context=1,
            classes=SCAR_CLASSES,
            class_weights=(1.0, 1.0, 1.5, 3.0, 4.0),
            set_shares={"emidec": 0.85, "synthetic_lge": 0.15},
        ),
        TrainSettings(steps=6_000, validate_every=500),
    ),
    **WINDOW_RECIPES,
    **ED_ES_RECIPES,
    **REGRESSION_RECIPES,
    **SLICE_CLASS_RECIPES,
    **ECG_RECIPES,
    **SPECT_RECIPES,
    **DISEASE_RECIPES,
}
