"""Label map of a late enhancement stack: LV cavity, myocardium, scar and no-reflow."""

from dataclasses import replace

import numpy as np

from pipeline.case import LV_CAVITY, LV_MYOCARDIUM, NO_REFLOW, SCAR, ModelUse, Segmentation, UInt8
from pipeline.lge_case import LgeCase, Scar
from pipeline.scar import SEED_SHARE, has_scar
from pipeline.stages import Segmenter, model_use
from pipeline.stages.masks import clean_labels
from pipeline.stages.segmentation import segmented

# Of the classes of the network, which are those of EMIDEC: cavity, myocardium, infarct, no-reflow.
_CODES = np.array([0, LV_CAVITY, LV_MYOCARDIUM, SCAR, NO_REFLOW], dtype=np.uint8)
_IN_WALL = (SCAR, NO_REFLOW)
_TOO_SMALL = f"no spot that it marked reaches {SEED_SHARE:.0%} of the wall, so none is called scar"


class SegmentScar:
    """Label the relevant slices; scar by the network is what it labels so, no-reflow included.

    As by the thresholds, a heart has scar where one piece of it is large enough (`pipeline.scar`);
    smaller spots alone are myocardium.
    """

    name = "segmentation"

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self.models: tuple[ModelUse, ...] = (model_use(segmenter.card),)

    def __call__(self, case: LgeCase) -> LgeCase:
        """Return the case with its label map and the scar of the network; needs its relevance."""
        found = segmented(self._segmenter, case, careful=True)
        labels = _cleaned(found, case.stack.pixel_spacing_mm)
        scar = np.isin(labels, _IN_WALL)
        network = Scar(scar[0])
        if scar.any() and not has_scar(scar[0], (scar | (labels == LV_MYOCARDIUM))[0]):
            network = Scar(scar[0] & False, _TOO_SMALL)
            labels[scar] = LV_MYOCARDIUM
        labels.flags.writeable = False
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
