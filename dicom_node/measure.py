"""`dicom-node evaluate`: the node's own chain, measured on labelled sets."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from config.schema import LV_AREA_CURVE, CineSettings
from pipeline.case import CineCase, CineStack, Float32, UInt8
from pipeline.cine import cine_stages
from pipeline.errors import Rejection
from pipeline.stages import Detector, Localiser, Regressor, Segmenter
from pipeline.stages.regression import regressed

if TYPE_CHECKING:
    from models.ed_es_detector import FrameReading
    from models.registry import Card
    from models.regressor import RegressedVolume
    from models.split import Part


def evaluate_model(
    model: str,
    data: Path,
    output: Path,
    *,
    part: "Part" = "test",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    weights: Path | None = None,
    scanner_changes: bool = True,
    say: Callable[[str], None] = print,
) -> Path:
    """Measure a model by its task, in the chain it serves in; returns the report.

    Parameters
    ----------
    model : str
        A registered model.
    data, output, part, scanner_changes, say
        As `models.training.evaluate.evaluate` takes them.
    device : {"auto", "cpu", "cuda"}
    weights : Path, optional
        Folder of its card and weights; the shipped ones without. The other networks of the chain
        are the shipped ones.

    Raises
    ------
    WeightsError
        The model is unknown, altered, or of a task that is not measured here.
    """
    from models.ed_es_detector import central_frame, likeliest_frame
    from models.predict import HeartLocaliser, PhaseDetector, StackSegmenter, choose_device
    from models.registry import WEIGHTS_FOLDER, card
    from models.regressor import VolumeRegressor
    from models.slice_classifier import SliceClassifier
    from models.training.cards import fitted_sets
    from models.training.evaluate import (
        evaluate,
        evaluate_detector,
        evaluate_localiser,
        evaluate_regressor,
    )
    from models.training.evaluate_lge import (
        evaluate_lge_localiser,
        evaluate_scar,
        evaluate_slices,
    )

    folder, chosen = weights or WEIGHTS_FOLDER, choose_device(device)
    settings = CineSettings()
    measured = card(model, folder)
    if measured.task == "localisation":
        localiser = HeartLocaliser(model, chosen, folder)
        of_lge = "emidec" in fitted_sets(measured)
        measure = evaluate_lge_localiser if of_lge else evaluate_localiser
        return measure(localiser, data, output, part=part, say=say)
    if measured.task == "slice_classification":
        return evaluate_slices(
            SliceClassifier(model, chosen, folder), data, output, part=part, say=say
        )
    if measured.task == "scar_segmentation":
        from dicom_node.measure_lge import shipped_chain

        segmenter = StackSegmenter(model, chosen, folder, task="scar_segmentation")
        return evaluate_scar(shipped_chain(segmenter, chosen), data, output, part=part, say=say)
    localiser = HeartLocaliser(settings.localiser, chosen)
    if measured.task == "volume_regression":
        segmenter = StackSegmenter(settings.segmenter, chosen)
        regressor = VolumeRegressor(model, chosen, folder)
        chain = NodeChain(measured, localiser, segmenter, regressor=regressor)
        return evaluate_regressor(chain, data, output, part=part, say=say)
    if measured.task == "ed_es_detection":
        segmenter = StackSegmenter(settings.segmenter, chosen)
        chain, naive = (
            NodeChain(measured, localiser, segmenter, PhaseDetector(model, chosen, folder, read))
            for read in (central_frame, likeliest_frame)
        )
        return evaluate_detector(chain, naive, data, output, part=part, say=say)
    chain = NodeChain(
        measured,
        localiser,
        StackSegmenter(model, chosen, folder),
        None if settings.detector == LV_AREA_CURVE else PhaseDetector(settings.detector, chosen),
    )
    return evaluate(chain, data, output, part=part, scanner_changes=scanner_changes, say=say)


class NodeChain:
    """The cine chain on plain arrays; a `models.training.measure.Service`.

    Parameters
    ----------
    card : Card
        Of the network that is to be measured.
    localiser : Localiser
    segmenter : Segmenter
    detector : Detector, optional
        Without it the LV area curve tells ED and ES.
    regressor : Regressor, optional
    """

    def __init__(
        self,
        card: "Card",
        localiser: Localiser,
        segmenter: Segmenter,
        detector: Detector | None = None,
        regressor: Regressor | None = None,
    ) -> None:
        self.card = card
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
