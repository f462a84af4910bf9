"""Third stage: label maps of every phase on the relevant slices."""

from dataclasses import replace

import numpy as np

from pipeline.case import CineCase, ModelUse, Segmentation
from pipeline.stages import Segmenter, model_use
from pipeline.stages.masks import clean_labels


class SegmentCine:
    """Label LV cavity, LV myocardium and RV cavity in every phase, most carefully at ED and ES."""

    name = "segmentation"

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self.models: tuple[ModelUse, ...] = (model_use(segmenter.card),)

    def __call__(self, case: CineCase) -> CineCase:
        """Return the case with its label maps; needs its relevance and phases."""
        if case.relevance is None or case.phases is None:
            raise ValueError("segmentation comes after relevance and detection")
        slices = np.flatnonzero(case.relevance.relevant).tolist()
        stack = case.stack
        found = self._segmenter(
            stack.frames,
            slices,
            stack.pixel_spacing_mm,
            case.relevance.centre_yx,
            careful_phases=(case.phases.ed, case.phases.es),
        )
        labels = np.zeros(stack.frames.shape, dtype=np.uint8)
        labels[:, slices] = clean_labels(found, stack.pixel_spacing_mm)
        labels.flags.writeable = False
        return replace(case, segmentation=Segmentation(labels))
