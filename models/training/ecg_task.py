"""How the classifier of ECG sheets is trained: sheets printed and scanned at random."""

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import Generator, Tensor

from models.ecg_sheet import (
    BOTTOM_CUT,
    CLASSES,
    DEVIATION,
    MEAN,
    PLAIN,
    SIDE,
    TOP_CUT,
    SheetStyle,
    UInt8,
    draw_sheet,
    prepared,
)
from models.training.ecg_records import EcgCase
from models.training.ecg_sets import prepare_ecg
from models.training.image_class_task import ClassedImages, ImageClassTask
from models.training.paper import random_style, scanned
from models.training.tasks import Recipe, TrainSettings, load_task

_SHARES = {
    "ecg": 0.6,
    "ecg_images": 1.0,
    "synthetic_ecg": 0.8,
    "synthetic_ecg_simulator": 0.6,
    "synthetic_ecg_infarct": 0.8,
}


def plain_sheet(case: EcgCase) -> UInt8:
    """Sheet of a case as service would have it; uint8 [y, x, 3]."""
    return _sheet(case, PLAIN, 1.0)


def _sheet(case: EcgCase, style: SheetStyle, gain: float) -> UInt8:
    if case.picture is not None:
        return case.picture
    if case.microvolts is None:
        raise ValueError(f"case {case.patient} has neither record nor picture")
    leads = (case.microvolts * (gain / 1000)).astype(np.float32)
    return draw_sheet(leads, case.hz, head=("x" * 40,), style=style)


def _plain(case: EcgCase) -> Tensor:
    return torch.from_numpy(prepared(plain_sheet(case)))


def _drawn(case: EcgCase, generator: Generator) -> Tensor:
    """A copy of the sheet: printed anew with a little more or less gain, handled, scanned."""
    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    sheet = _sheet(case, random_style(rng), float(rng.uniform(0.85, 1.15)))
    return torch.from_numpy(prepared(scanned(sheet, rng)))


SHEETS: ClassedImages[EcgCase] = ClassedImages(
    classes=CLASSES, drawn=_drawn, plain=_plain, set_shares=_SHARES, label_smoothing=0.05
)
ECG_RECIPES: Mapping[str, Recipe] = {
    "ecg_dual_branch": Recipe(
        task="ecg_classification",
        architecture="ecg_dual_branch",
        parameters={"width": 32, "classes": len(CLASSES)},
        input={
            "rows": SIDE,
            "columns": SIDE,
            "classes": list(CLASSES),
            "top_cut": TOP_CUT,
            "bottom_cut": BOTTOM_CUT,
            "mean": list(MEAN),
            "deviation": list(DEVIATION),
        },
        load=partial(load_task, partial(ImageClassTask, SHEETS), prepare_ecg),
        settings=TrainSettings(
            steps=3_000, batch=32, learning_rate=1e-3, validate_every=250, patience=5
        ),
        sets=tuple(_SHARES),
    ),
}
