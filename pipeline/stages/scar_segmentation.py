"""Label map of a late enhancement stack: LV cavity, myocardium, scar and no-reflow."""

from dataclasses import replace

import numpy as np

from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    NO_REFLOW,
    SCAR,
    LgeCase,
    ModelUse,
    Scar,
    Segmentation,
    UInt8,
)
from pipeline.stages import Segmenter, model_use
from pipeline.stages.masks import clean_labels
from pipeline.stages.segmentation import segmented

# Of the classes of the network, which are those of EMIDEC: cavity, myocardium, infarct, no-reflow.
_CODES = np.array([0, LV_CAVITY, LV_MYOCARDIUM, SCAR, NO_REFLOW], dtype=np.uint8)
_IN_WALL = (SCAR, NO_REFLOW)


class SegmentScar:
    """Label the relevant slices; scar by the network is what it labels so, no-reflow included."""

    name = "segmentation"

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self.models: tuple[ModelUse, ...] = (model_use(segmenter.card),)

    def __call__(self, case: LgeCase) -> LgeCase:
        """Return the case with its label map and the scar of the network; needs its relevance."""
        labels = segmented(self._segmenter, case, _cleaned, careful=True)
        labels.flags.writeable = False
        network = Scar(np.isin(labels[0], _IN_WALL))
        return replace(
            case, segmentation=Segmentation(labels), scars={**case.scars, "network": network}
        )


def _cleaned(classes: UInt8, pixel_spacing_mm: tuple[float, float]) -> UInt8:
    """Keep one plausible LV, and of scar and no-reflow what lies in its wall."""
    labels = _CODES[classes]
    in_wall = np.isin(labels, _IN_WALL)
    cleaned = clean_labels(np.where(in_wall, np.uint8(LV_MYOCARDIUM), labels), pixel_spacing_mm)
    kept = in_wall & (cleaned == LV_MYOCARDIUM)
    return np.where(kept, labels, cleaned)
