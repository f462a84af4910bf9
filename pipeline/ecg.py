"""The ECG chain, written out."""

from config.schema import EcgSettings, WorkerSettings
from models.registry import opened
from pipeline.chain import Chain
from pipeline.picture_case import PictureCase
from pipeline.stages import CaseStage, PictureClassifier
from pipeline.stages.classification import ClassifyPicture
from pipeline.stages.ecg_plausibility import CheckEcgSheet


def ecg_stages(
    settings: EcgSettings, classifier: PictureClassifier
) -> tuple[CaseStage[PictureCase], ...]:
    """The ECG chain from the sheet to its class."""
    return (CheckEcgSheet(), ClassifyPicture(classifier, settings.min_confidence))


class EcgPipeline(Chain[PictureCase]):
    """The ECG chain with its network."""

    __slots__ = ()


def build_ecg_pipeline(settings: EcgSettings, worker: WorkerSettings) -> EcgPipeline:
    """Load the network that the settings name, once, and join it to a chain.

    Raises
    ------
    WeightsError
        The weights of the network are missing or altered.
    """
    # The only import of torch on this path.
    from models.backend import choose_backend
    from models.ecg_classifier import EcgClassifier

    backend = choose_backend(worker.device, threads=worker.threads)
    classifier = opened(EcgClassifier, settings.network, backend, worker.weights_folder)
    return EcgPipeline(ecg_stages(settings, classifier), backend.device, backend.name)
