"""The cine chain, written out."""

from config.schema import LOCALISER, LV_AREA_CURVE, NO_NETWORK, CineSettings, WorkerSettings
from models.registry import opened
from pipeline.case import CineCase, CineStack
from pipeline.chain import Chain
from pipeline.stages import (
    Detector,
    DiseaseClassifier,
    Localiser,
    Regressor,
    Segmenter,
    SliceClassifier,
    Stage,
)
from pipeline.stages.biomarkers import Quantify
from pipeline.stages.detection import DetectPhases
from pipeline.stages.disease import ClassifyDisease
from pipeline.stages.quality import CheckQuality
from pipeline.stages.regression import RegressVolumes
from pipeline.stages.relevance import FindRelevantSlices
from pipeline.stages.segmentation import RefineKeyPhases, SegmentCine
from pipeline.stages.wall import MeasureWall


def cine_stages(
    settings: CineSettings,
    localiser: Localiser,
    segmenter: Segmenter,
    detector: Detector | None = None,
    regressor: Regressor | None = None,
    *,
    classifier: SliceClassifier | None = None,
    disease: DiseaseClassifier | None = None,
) -> tuple[Stage, ...]:
    """The cine chain from the stack to the checked biomarkers, and what may rest on them."""
    told = () if disease is None else (ClassifyDisease(disease, settings.min_confidence),)
    return (
        FindRelevantSlices(localiser, settings.relevance_threshold, classifier),
        SegmentCine(segmenter),
        DetectPhases(settings.min_phases_for_detection, detector),
        RefineKeyPhases(segmenter),
        *(() if regressor is None else (RegressVolumes(regressor),)),
        Quantify(),
        MeasureWall(),
        CheckQuality(
            settings.min_phases_for_detection,
            segmenter.card,
            regressor.card if regressor else None,
            settings.quality,
        ),
        *told,
    )


class CinePipeline(Chain[CineCase]):
    """The cine chain with its networks."""

    __slots__ = ()

    def run(self, stack: CineStack, *, require_coverage: bool = False) -> CineCase:
        """Measure one stack; see `Chain.carry`."""
        return self.carry(CineCase(stack), require_coverage=require_coverage)


def build_cine_pipeline(settings: CineSettings, worker: WorkerSettings) -> CinePipeline:
    """Load the networks that the settings name, once, and join them to a chain.

    Raises
    ------
    WeightsError
        The weights of a network are missing or altered.
    """
    # The only import of torch on this path.
    from models.backend import choose_backend
    from models.disease_classifier import DiseaseClassifier as Diseases
    from models.predict import HeartLocaliser, PhaseDetector, StackSegmenter
    from models.regressor import VolumeRegressor
    from models.slice_classifier import SliceClassifier as Classifier

    backend = choose_backend(worker.device, worker.precision, worker.threads)
    own = worker.weights_folder
    localiser = opened(HeartLocaliser, settings.localiser, backend, own)
    segmenter = opened(StackSegmenter, settings.segmenter, backend, own)
    detector = (
        None
        if settings.detector == LV_AREA_CURVE
        else opened(PhaseDetector, settings.detector, backend, own)
    )
    regressor = (
        opened(VolumeRegressor, settings.regressor, backend, own)
        if settings.volume_method == "regression"
        else None
    )
    name = settings.slice_classifier
    classifier = None if name == LOCALISER else opened(Classifier, name, backend, own)
    disease = (
        None
        if settings.disease_classifier == NO_NETWORK
        else opened(Diseases, settings.disease_classifier, backend, own)
    )
    stages = cine_stages(
        settings, localiser, segmenter, detector, regressor, classifier=classifier, disease=disease
    )
    return CinePipeline(stages, backend.device, backend.name)
