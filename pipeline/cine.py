"""The cine chain, written out, and the runner that times each stage and records provenance."""

import time
from dataclasses import dataclass, replace

from config.schema import LV_AREA_CURVE, CineSettings, WorkerSettings
from pipeline.case import CineCase, CineStack, ModelUse, StageRecord
from pipeline.stages import Detector, Localiser, Regressor, Segmenter, Stage
from pipeline.stages.biomarkers import Quantify
from pipeline.stages.detection import DetectPhases
from pipeline.stages.quality import CheckQuality
from pipeline.stages.regression import RegressVolumes
from pipeline.stages.relevance import FindRelevantSlices, refuse_uncovered
from pipeline.stages.segmentation import SegmentCine


def cine_stages(
    settings: CineSettings,
    localiser: Localiser,
    segmenter: Segmenter,
    detector: Detector | None = None,
    regressor: Regressor | None = None,
) -> tuple[Stage, ...]:
    """The cine chain from the stack to the checked biomarkers."""
    return (
        FindRelevantSlices(localiser, settings.relevance_threshold),
        DetectPhases(segmenter, settings.min_phases_for_detection, detector),
        SegmentCine(segmenter),
        *(() if regressor is None else (RegressVolumes(regressor),)),
        Quantify(),
        CheckQuality(
            settings.min_phases_for_detection, segmenter.card, regressor.card if regressor else None
        ),
    )


@dataclass(frozen=True, slots=True)
class CinePipeline:
    """A chain of stages ready to run, with its networks loaded; serves any number of stacks.

    Attributes
    ----------
    stages : tuple of Stage
        In the order they run.
    device : str
        Where the networks compute, ``"cpu"`` or ``"cuda"``.
    numeric_backend : str
        What computes and how exactly; part of what decides the result.
    """

    stages: tuple[Stage, ...]
    device: str
    numeric_backend: str

    @property
    def models(self) -> tuple[ModelUse, ...]:
        """The networks of the chain, each once, in the order they take part."""
        return tuple(dict.fromkeys(model for stage in self.stages for model in stage.models))

    def run(self, stack: CineStack, *, require_coverage: bool = False) -> CineCase:
        """Measure one stack.

        Parameters
        ----------
        stack : CineStack
            As assembled.
        require_coverage : bool
            Refuse a stack whose first or last slice shows the LV.

        Raises
        ------
        Rejection
            The stack cannot be measured.
        NotYetCovered
            `require_coverage`, and an end slice shows the LV.
        """
        case = CineCase(stack)
        for stage in self.stages:
            case = self._timed(stage, case)
            if require_coverage:
                refuse_uncovered(case)
        return case

    def _timed(self, stage: Stage, case: CineCase) -> CineCase:
        """Run one stage and record that it did."""
        started = time.perf_counter()
        after = stage(case)
        seconds = time.perf_counter() - started
        device = self.device if stage.models else "cpu"
        record = StageRecord(stage.name, seconds, device, stage.models)
        return replace(after, provenance=(*after.provenance, record))


def build_cine_pipeline(settings: CineSettings, worker: WorkerSettings) -> CinePipeline:
    """Load the networks that the settings name, once, and join them to a chain.

    Raises
    ------
    WeightsError
        The weights of a network are missing or altered.
    """
    # The only import of torch on this path.
    from models.predict import (
        HeartLocaliser,
        PhaseDetector,
        StackSegmenter,
        choose_device,
        numeric_backend,
        set_threads,
    )
    from models.regressor import VolumeRegressor

    device = choose_device(worker.device)
    set_threads(worker.threads)
    localiser = HeartLocaliser(settings.localiser, device)
    segmenter = StackSegmenter(settings.segmenter, device)
    detector = (
        None if settings.detector == LV_AREA_CURVE else PhaseDetector(settings.detector, device)
    )
    regressor = (
        VolumeRegressor(settings.regressor, device)
        if settings.volume_method == "regression"
        else None
    )
    stages = cine_stages(settings, localiser, segmenter, detector, regressor)
    return CinePipeline(stages, device, numeric_backend(device))
