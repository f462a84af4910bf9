"""After segmentation, where the configuration asks for it: LV volumes by regression.

A network that has learned from volumes alone measures ED and ES; the volumes it finds are stated
in place of the segmented ones, the segmentation stays beside them to be compared.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipeline.case import CineCase, CineStack, ModelUse, Regression, Relevance
from pipeline.stages import Regressor, model_use

if TYPE_CHECKING:
    from models.regressor import RegressedVolume


class RegressVolumes:
    """Measure the LV at ED and ES on the relevant slices."""

    name = "regression"

    def __init__(self, regressor: Regressor) -> None:
        self._regressor = regressor
        self.models: tuple[ModelUse, ...] = (model_use(regressor.card),)

    def __call__(self, case: CineCase) -> CineCase:
        """Return the case with its regression; needs its relevance and phases."""
        if case.relevance is None or case.phases is None:
            raise ValueError("regression comes after relevance and detection")
        ed, es = (
            regressed(self._regressor, case.stack, case.relevance, phase)
            for phase in (case.phases.ed, case.phases.es)
        )
        edv_ml, esv_ml = (
            float(found.area_mm2 @ case.stack.slice_extent_mm) / 1000 for found in (ed, es)
        )
        return replace(case, regression=Regression(edv_ml, esv_ml, ed.explanation, es.explanation))


def regressed(
    regressor: Regressor, stack: CineStack, relevance: Relevance, phase: int
) -> "RegressedVolume":
    """What a regressor finds on the relevant slices of a phase, as part of the whole stack."""
    slices = np.flatnonzero(relevance.relevant).tolist()
    found = regressor(stack.frames[phase, slices], stack.pixel_spacing_mm, relevance.centre_yx)
    return found.within(slices, len(relevance.relevant))
