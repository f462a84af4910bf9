"""The late enhancement chain, written out."""

from config.schema import LOCALISER, LgeSettings, WorkerSettings
from models.registry import opened
from pipeline.chain import Chain
from pipeline.lge_case import Companion, LgeCase, LgeStack
from pipeline.stages import CaseStage, Localiser, Segmenter, SliceClassifier
from pipeline.stages.lge_quality import CheckScar
from pipeline.stages.relevance import FindRelevantSlices
from pipeline.stages.scar_biomarkers import QuantifyScar
from pipeline.stages.scar_measures import MeasureScar
from pipeline.stages.scar_segmentation import SegmentScar
from pipeline.stages.transmurality import MeasureTransmurality


def lge_stages(
    settings: LgeSettings,
    localiser: Localiser,
    segmenter: Segmenter,
    classifier: SliceClassifier | None = None,
) -> tuple[CaseStage[LgeCase], ...]:
    """The late enhancement chain from the stack to the checked biomarkers."""
    return (
        FindRelevantSlices(localiser, settings.relevance_threshold, classifier),
        SegmentScar(segmenter),
        MeasureScar(),
        QuantifyScar(segmenter.card),
        MeasureTransmurality(),
        CheckScar(segmenter.card, settings.quality),
    )


class LgePipeline(Chain[LgeCase]):
    """The late enhancement chain with its networks."""

    __slots__ = ()

    def run(
        self,
        stack: LgeStack,
        companion: Companion | None = None,
        *,
        require_coverage: bool = False,
    ) -> LgeCase:
        """Measure one stack, beside the cine of the same study; see `Chain.carry`."""
        case = LgeCase(stack, companion=companion)
        return self.carry(case, require_coverage=require_coverage)


def build_lge_pipeline(settings: LgeSettings, worker: WorkerSettings) -> LgePipeline:
    """Load the networks that the settings name, once, and join them to a chain.

    Raises
    ------
    WeightsError
        The weights of a network are missing or altered.
    """
    # The only import of torch on this path.
    from models.backend import choose_backend
    from models.predict import (
        HeartLocaliser,
        StackSegmenter,
    )
    from models.slice_classifier import SliceClassifier as Classifier

    backend = choose_backend(worker.device, threads=worker.threads)
    own = worker.weights_folder
    name = settings.slice_classifier
    stages = lge_stages(
        settings,
        opened(HeartLocaliser, settings.localiser, backend, own),
        opened(StackSegmenter, settings.segmenter, backend, own, task="scar_segmentation"),
        None if name == LOCALISER else opened(Classifier, name, backend, own),
    )
    return LgePipeline(stages, backend.device, backend.name)
