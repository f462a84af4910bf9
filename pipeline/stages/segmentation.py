"""Third stage: label maps of every phase on the relevant slices."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pipeline.case import Case, CineCase, ModelUse, Segmentation, UInt8
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
        careful = case.phases.ed, case.phases.es
        found = segmented(self._segmenter, case, careful, clean_labels)
        return replace(case, segmentation=found)


def segmented(
    segmenter: Segmenter,
    case: Case,
    careful_phases: tuple[int, ...],
    clean: Callable[[UInt8, tuple[float, float]], UInt8],
) -> Segmentation:
    """Label the relevant slices of a case in every phase.

    Parameters
    ----------
    segmenter : Segmenter
    case : Case
        With its relevance.
    careful_phases : tuple of int
        As `Segmenter` takes them.
    clean : callable
        ``(labels, pixel_spacing_mm) -> labels``: what is kept of those found, uint8 [t, z, y, x].
    """
    if case.relevance is None:
        raise ValueError("segmentation comes after relevance")
    slices = np.flatnonzero(case.relevance.relevant).tolist()
    stack = case.stack
    found = segmenter(
        stack.frames,
        slices,
        stack.pixel_spacing_mm,
        case.relevance.centre_yx,
        careful_phases=careful_phases,
    )
    labels = np.zeros(stack.frames.shape, dtype=np.uint8)
    labels[:, slices] = clean(found, stack.pixel_spacing_mm)
    labels.flags.writeable = False
    return Segmentation(labels)
