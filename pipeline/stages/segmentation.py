"""Third stage: label maps of every phase on the relevant slices."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.case import CineCase, CineStack, ModelUse, Segmentation, UInt8
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
        if case.relevance is None:
            raise ValueError("segmentation comes after relevance")
        slices = np.flatnonzero(case.relevance.relevant).tolist()
        found = segment_slices(self._segmenter, case.stack, slices, case.relevance.centre_yx)
        labels = np.zeros(case.stack.frames.shape, dtype=np.uint8)
        labels[:, slices] = clean_labels(found, case.stack.pixel_spacing_mm)
        labels.flags.writeable = False
        return replace(case, segmentation=Segmentation(labels))


def segment_slices(
    segmenter: Segmenter, stack: CineStack, slices: Sequence[int], centre_yx: tuple[float, float]
) -> UInt8:
    """Label the given slices in every phase.

    Returns
    -------
    uint8 [t, len(slices), y, x]
        As the network gave them.
    """
    images = stack.frames[:, list(slices)]
    flat = images.reshape(-1, *images.shape[2:])
    return segmenter(flat, stack.pixel_spacing_mm, centre_yx).reshape(images.shape)
