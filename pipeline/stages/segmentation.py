"""Second stage: label maps of every phase on the relevant slices; fourth: ED and ES once more."""

from dataclasses import replace

import numpy as np

from pipeline.case import Case, CineCase, ModelUse, Segmentation, UInt8
from pipeline.stages import Segmenter, model_use
from pipeline.stages.masks import clean_labels


class SegmentCine:
    """Label LV cavity, LV myocardium and RV cavity in every phase."""

    name = "segmentation"

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self.models: tuple[ModelUse, ...] = (model_use(segmenter.card),)

    def __call__(self, case: CineCase) -> CineCase:
        """Return the case with its label maps; needs its relevance."""
        found = segmented(self._segmenter, case)
        labels = clean_labels(found, case.stack.pixel_spacing_mm)
        labels.flags.writeable = False
        return replace(case, segmentation=Segmentation(labels))


class RefineKeyPhases:
    """Label ED and ES again, with care: what is measured is measured there."""

    name = "refinement"

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self.models: tuple[ModelUse, ...] = (model_use(segmenter.card),)

    def __call__(self, case: CineCase) -> CineCase:
        """Return the case with new label maps of its ED and ES; needs its segmentation."""
        if case.phases is None or case.segmentation is None:
            raise ValueError("refinement comes after segmentation and detection")
        phases = [case.phases.ed, case.phases.es]
        first_look = case.segmentation.labels[phases]
        found = segmented(self._segmenter, case, phases, careful=True)
        labels = case.segmentation.labels.copy()
        labels[phases] = clean_labels(found, case.stack.pixel_spacing_mm)
        for one in (labels, first_look, found):
            one.flags.writeable = False
        return replace(case, segmentation=Segmentation(labels, first_look, found))


def segmented(
    segmenter: Segmenter,
    case: Case,
    phases: list[int] | slice = slice(None),
    *,
    careful: bool = False,
) -> UInt8:
    """Label the relevant slices of a case, as the network does; the other slices stay 0.

    Parameters
    ----------
    segmenter : Segmenter
    case : Case
        With its relevance.
    phases : list of int or slice
        Which phases.
    careful : bool
        As `Segmenter` takes it.

    Returns
    -------
    uint8 [len(phases), z, y, x]
    """
    if case.relevance is None:
        raise ValueError("segmentation comes after relevance")
    slices = np.flatnonzero(case.relevance.relevant).tolist()
    frames, spacing = case.stack.frames[phases], case.stack.pixel_spacing_mm
    labels = np.zeros(frames.shape, dtype=np.uint8)
    labels[:, slices] = segmenter(
        frames, slices, spacing, case.relevance.centre_yx, careful=careful
    )
    return labels
