"""The perfusion chain, written out."""

from config.schema import SpectSettings, WorkerSettings
from models.registry import opened
from pipeline.chain import Chain
from pipeline.picture_case import SpectCase
from pipeline.stages import CaseStage, PictureClassifier
from pipeline.stages.classification import ClassifyPicture
from pipeline.stages.perfusion import LayOutPerfusion
from pipeline.stages.perfusion_plausibility import CheckPerfusionCapture


def spect_stages(
    settings: SpectSettings, classifier: PictureClassifier
) -> tuple[CaseStage[SpectCase], ...]:
    """The perfusion chain from the tomograms to the class."""
    return (
        LayOutPerfusion(),
        CheckPerfusionCapture(),
        ClassifyPicture(classifier, settings.min_confidence),
    )


class SpectPipeline(Chain[SpectCase]):
    """The perfusion chain with its network."""

    __slots__ = ()


def build_spect_pipeline(settings: SpectSettings, worker: WorkerSettings) -> SpectPipeline:
    """Load the network that the settings name, once, and join it to a chain.

    Raises
    ------
    WeightsError
        The weights of the network are missing or altered.
    """
    # The only import of torch on this path.
    from models.backend import choose_backend
    from models.perfusion_classifier import PerfusionClassifier

    backend = choose_backend(worker.device, threads=worker.threads)
    classifier = opened(PerfusionClassifier, settings.network, backend, worker.weights_folder)
    return SpectPipeline(spect_stages(settings, classifier), backend.device, backend.name)
