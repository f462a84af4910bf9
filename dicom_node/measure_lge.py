"""The late enhancement chain on plain arrays, for `dicom-node evaluate`."""

import math
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from config.schema import LOCALISER, LgeSettings
from dicom_node.measure import plain_stack
from pipeline.case import LV_CAVITY, LV_MYOCARDIUM, NO_REFLOW, SCAR, Float32, ShortAxisStack, UInt8
from pipeline.errors import Rejection
from pipeline.lge import lge_stages
from pipeline.lge_case import LgeCase, LgeStack
from pipeline.stages import Localiser, Segmenter, SliceClassifier

if TYPE_CHECKING:
    from models.backend import Backend

_CODES = {LV_CAVITY: 1, LV_MYOCARDIUM: 2, SCAR: 3, NO_REFLOW: 4}  # as EMIDEC labels them
_STAGES = ("relevance", "segmentation", "scar", "biomarkers")


class LgeChain:
    """The late enhancement chain; a `models.training.evaluate_lge.ScarService`.

    Parameters
    ----------
    localiser : Localiser
    segmenter : Segmenter
    classifier : SliceClassifier, optional
        Without it the localiser tells which slices show the LV.
    """

    def __init__(
        self,
        localiser: Localiser,
        segmenter: Segmenter,
        classifier: SliceClassifier | None = None,
    ) -> None:
        stages = lge_stages(LgeSettings(), localiser, segmenter, classifier)
        self._stages = [stage for stage in stages if stage.name in _STAGES]

    def scar(
        self, images: Float32, pixel_spacing_mm: tuple[float, float], slice_spacing_mm: float
    ) -> tuple[UInt8, float]:
        """Labels [z, y, x] in the codes of EMIDEC, and the probability of an infarct.

        All 0 where the chain rejects the stack; NaN where it gives no probability.
        """
        case = LgeCase(_plain(images, pixel_spacing_mm, slice_spacing_mm))
        try:
            for stage in self._stages:
                case = stage(case)
        except Rejection:
            return np.zeros(images.shape, dtype=np.uint8), math.nan
        if case.segmentation is None:
            raise ValueError("the chain has no segmentation")
        codes = np.zeros(256, dtype=np.uint8)
        codes[list(_CODES)] = list(_CODES.values())
        values = {entry.name: entry.value for entry in case.biomarkers}
        probability = values.get("infarct_probability")
        return codes[case.segmentation.labels[0]], math.nan if probability is None else probability


def lge_chain(segmenter: Segmenter, backend: "Backend", folder: Path) -> LgeChain:
    """The chain of a segmenter with the networks that find its slices and its centre.

    Parameters
    ----------
    segmenter : Segmenter
    backend : Backend
    folder : Path
        Of their cards and weights; what is not in it ships.

    Raises
    ------
    WeightsError
        The weights of one of them are missing or altered.
    """
    from models.predict import HeartLocaliser
    from models.registry import opened
    from models.slice_classifier import SliceClassifier as Classifier

    settings = LgeSettings()
    name = settings.slice_classifier
    classifier = None if name == LOCALISER else opened(Classifier, name, backend, folder)
    localiser = opened(HeartLocaliser, settings.localiser, backend, folder)
    return LgeChain(localiser, segmenter, classifier)


def _plain(
    images: Float32, pixel_spacing_mm: tuple[float, float], slice_spacing_mm: float
) -> LgeStack:
    """A stack of images [z, y, x] that no DICOM instance stands behind."""
    stack = plain_stack(images[None], pixel_spacing_mm, slice_spacing_mm)
    shared = {entry.name: getattr(stack, entry.name) for entry in fields(ShortAxisStack)}
    return LgeStack(
        **shared,
        inversion_times_ms=(None,) * len(images),
        phase_sensitive=False,
        left_out=(),
    )
