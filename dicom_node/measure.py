"""The cine chain on plain arrays, for `dicom-node evaluate`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from config.schema import CineSettings
from pipeline.case import CineCase, CineStack, Float32, UInt8
from pipeline.cine import cine_stages
from pipeline.errors import Rejection
from pipeline.stages import Detector, Localiser, Regressor, Segmenter
from pipeline.stages.regression import regressed

if TYPE_CHECKING:
    from models.ed_es_detector import FrameReading
    from models.regressor import RegressedVolume


class NodeChain:
    """The cine chain on plain arrays; a `models.training.measure.Service`.

    Parameters
    ----------
    localiser : Localiser
    segmenter : Segmenter
    detector : Detector, optional
        Without it the LV area curve tells ED and ES.
    regressor : Regressor, optional
    """

    def __init__(
        self,
        localiser: Localiser,
        segmenter: Segmenter,
        detector: Detector | None = None,
        regressor: Regressor | None = None,
    ) -> None:
        self._regressor = regressor
        stages = cine_stages(CineSettings(), localiser, segmenter, detector)
        self._stages = {stage.name: stage for stage in stages}

    def labels(
        self, frames: Float32, pixel_spacing_mm: tuple[float, float], slice_spacing_mm: float
    ) -> UInt8:
        """Label frames [t, z, y, x]; all 0 where the chain rejects them."""
        case = CineCase(plain_stack(frames, pixel_spacing_mm, slice_spacing_mm))
        try:
            case = self._run(case, ("relevance", "segmentation", "detection", "refinement"))
        except Rejection:
            return np.zeros(frames.shape, dtype=np.uint8)
        if case.segmentation is None:
            raise ValueError("the chain has no segmentation")
        return case.segmentation.labels

    def phases(
        self, frames: Float32, pixel_spacing_mm: tuple[float, float], slice_spacing_mm: float
    ) -> "tuple[FrameReading, FrameReading]":
        """ED and ES of a cine [t, z, y, x].

        Raises
        ------
        CaseError
            The chain rejects the cine.
        """
        from models.ed_es_detector import FrameReading

        stack = plain_stack(frames, pixel_spacing_mm, slice_spacing_mm)
        found = self._measured(stack, ("relevance", "segmentation", "detection")).phases
        if found is None:
            raise ValueError("the chain has no detection")
        return (
            FrameReading(found.ed, sure="ED" not in found.unsure),
            FrameReading(found.es, sure="ES" not in found.unsure),
        )

    def regressed(
        self, frames: Float32, pixel_spacing_mm: tuple[float, float], slice_spacing_mm: float
    ) -> "tuple[RegressedVolume, ...]":
        """LV of each of frames [t, z, y, x] by regression, laid into the whole stack.

        Raises
        ------
        CaseError
            The chain rejects the frames.
        """
        stack = plain_stack(frames, pixel_spacing_mm, slice_spacing_mm)
        relevance = self._measured(stack, ("relevance",)).relevance
        if self._regressor is None or relevance is None:
            raise ValueError("the chain has no regression")
        return tuple(
            regressed(self._regressor, stack, relevance, phase) for phase in range(len(frames))
        )

    def _measured(self, stack: CineStack, names: Sequence[str]) -> CineCase:
        from models.training.cases import CaseError

        try:
            return self._run(CineCase(stack), names)
        except Rejection as rejection:
            raise CaseError(f"the chain rejects it: {rejection}") from rejection

    def _run(self, case: CineCase, names: Sequence[str]) -> CineCase:
        for name in names:
            case = self._stages[name](case)
        return case


def plain_stack(
    frames: Float32, pixel_spacing_mm: tuple[float, float], slice_spacing_mm: float
) -> CineStack:
    """A stack of frames [t, z, y, x] that no DICOM instance stands behind."""
    phases, slices = frames.shape[:2]
    positions = np.zeros((slices, 3))
    positions[:, 2] = np.arange(slices) * slice_spacing_mm
    return CineStack(
        frames=frames,
        sources=((None,) * slices,) * phases,
        positions_mm=positions,
        row_cosines=np.array([1.0, 0.0, 0.0]),
        column_cosines=np.array([0.0, 1.0, 0.0]),
        pixel_spacing_mm=pixel_spacing_mm,
        slice_spacing_mm=slice_spacing_mm,
        slice_extent_mm=np.full(slices, slice_spacing_mm),
        trigger_times_ms=np.arange(phases, dtype=np.float64),
        missing=(),
        missing_fraction=0.0,
        headers={},
        digests={},
    )
