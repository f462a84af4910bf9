"""`dicom-node evaluate`: each task of a model in the chain that serves it, on labelled sets."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from config.schema import LV_AREA_CURVE, CineSettings
from dicom_node.measure import NodeChain
from dicom_node.measure_lge import lge_chain
from pipeline.stages import Detector, Regressor, Segmenter

if TYPE_CHECKING:
    from models.backend import Backend, Precision
    from models.split import Part
    from models.training.evaluate import Evaluation


def evaluate_model(
    model: str,
    data: Path,
    output: Path,
    *,
    part: "Part" = "test",
    device: Literal["auto", "cpu", "cuda"] = "auto",
    precision: "Precision" = "float32",
    weights: Path | None = None,
    scanner_changes: bool = True,
    say: Callable[[str], None] = print,
) -> Path:
    """Measure a model by its task, in the chain it serves in; returns the report (Markdown).

    Parameters
    ----------
    model : str
        A registered model.
    data, part, scanner_changes, say
        See `models.training.evaluate.Evaluation`.
    output : Path
        Folder for `evaluation-<model>-<part>` as `.json`, `.md` and pictures.
    device : {"auto", "cpu", "cuda"}
    precision : {"float32", "bfloat16"}
    weights : Path, optional
        Folder of its card and weights; the shipped ones without. The other networks of the chain
        are those of this folder, or the shipped ones.

    Raises
    ------
    WeightsError
        The model is unknown, altered, or of a task that is not measured here.
    """
    from models.backend import choose_backend
    from models.registry import WEIGHTS_FOLDER, WeightsError, card
    from models.training.evaluate import Evaluation, write

    folder = weights or WEIGHTS_FOLDER
    evaluation = Evaluation(card(model, folder), part, data, say, scanner_changes)
    task = evaluation.card.task
    if task not in _TASKS:
        raise WeightsError(f"model '{model}' is for {task}, which is not measured")
    _TASKS[task](evaluation, choose_backend(device, precision), folder)
    return write(evaluation, output)


def _segmentation(evaluation: "Evaluation", backend: "Backend", folder: Path) -> None:
    from models.predict import StackSegmenter
    from models.training.evaluate import evaluate_segmenter

    segmenter = StackSegmenter(evaluation.card.name, backend, folder)
    evaluate_segmenter(evaluation, _cine_chain(backend, folder, segmenter=segmenter))


def _localisation(evaluation: "Evaluation", backend: "Backend", folder: Path) -> None:
    from models.predict import HeartLocaliser
    from models.training.cards import fitted_on_lge
    from models.training.evaluate import evaluate_localiser
    from models.training.evaluate_lge import evaluate_lge_localiser

    of_lge = fitted_on_lge(evaluation.card)
    evaluate = evaluate_lge_localiser if of_lge else evaluate_localiser
    evaluate(evaluation, HeartLocaliser(evaluation.card.name, backend, folder))


def _volume_regression(evaluation: "Evaluation", backend: "Backend", folder: Path) -> None:
    from models.regressor import VolumeRegressor
    from models.training.evaluate import evaluate_regressor

    regressor = VolumeRegressor(evaluation.card.name, backend, folder)
    evaluate_regressor(evaluation, _cine_chain(backend, folder, regressor=regressor))


def _ed_es_detection(evaluation: "Evaluation", backend: "Backend", folder: Path) -> None:
    from models.ed_es_detector import central_frame, likeliest_frame
    from models.predict import PhaseDetector
    from models.training.evaluate import evaluate_detector

    central, naive = (
        _cine_chain(
            backend, folder, detector=PhaseDetector(evaluation.card.name, backend, folder, read)
        )
        for read in (central_frame, likeliest_frame)
    )
    evaluate_detector(evaluation, central, naive)


def _slice_classification(evaluation: "Evaluation", backend: "Backend", folder: Path) -> None:
    from models.slice_classifier import SliceClassifier
    from models.training.evaluate_lge import evaluate_slices

    evaluate_slices(evaluation, SliceClassifier(evaluation.card.name, backend, folder))


def _scar_segmentation(evaluation: "Evaluation", backend: "Backend", folder: Path) -> None:
    from models.predict import StackSegmenter
    from models.training.evaluate_lge import evaluate_scar

    name = evaluation.card.name
    segmenter = StackSegmenter(name, backend, folder, task="scar_segmentation")
    evaluate_scar(evaluation, lge_chain(segmenter, backend, folder))


def _ecg_classification(evaluation: "Evaluation", backend: "Backend", folder: Path) -> None:
    from models.ecg_classifier import EcgClassifier
    from models.training.evaluate_ecg import evaluate_ecg

    evaluate_ecg(evaluation, EcgClassifier(evaluation.card.name, backend, folder))


def _perfusion_classification(evaluation: "Evaluation", backend: "Backend", folder: Path) -> None:
    from models.perfusion_classifier import PerfusionClassifier
    from models.training.evaluate_spect import evaluate_spect

    evaluate_spect(evaluation, PerfusionClassifier(evaluation.card.name, backend, folder))


def _disease_classification(evaluation: "Evaluation", backend: "Backend", folder: Path) -> None:
    from dicom_node.out_of_fold import hearts_of, measure_acdc
    from models.disease_classifier import DiseaseClassifier
    from models.predict import HeartLocaliser, StackSegmenter
    from models.registry import opened
    from models.training.data import patients
    from models.training.evaluate_disease import evaluate_disease

    settings = CineSettings()
    classifier = DiseaseClassifier(evaluation.card.name, backend, folder)
    measure = measure_acdc(
        evaluation.data,
        opened(HeartLocaliser, settings.localiser, backend, folder),
        opened(StackSegmenter, settings.segmenter, backend, folder),
        classifier,
    )
    names = patients(evaluation.data, "acdc", evaluation.part)
    hearts = hearts_of(names, measure, evaluation.noting("acdc"))
    evaluate_disease(
        evaluation,
        classifier,
        (
            (heart, bool(case.classification and case.classification.found))
            for case, heart in hearts
        ),
    )


_TASKS: Mapping[str, Callable[["Evaluation", "Backend", Path], None]] = {
    "segmentation": _segmentation,
    "localisation": _localisation,
    "volume_regression": _volume_regression,
    "ed_es_detection": _ed_es_detection,
    "slice_classification": _slice_classification,
    "scar_segmentation": _scar_segmentation,
    "ecg_classification": _ecg_classification,
    "perfusion_classification": _perfusion_classification,
    "disease_classification": _disease_classification,
}
"""Task of a model, as on its card: how it is measured, on a backend and from a folder."""


def _cine_chain(
    backend: "Backend",
    folder: Path,
    *,
    segmenter: Segmenter | None = None,
    detector: Detector | None = None,
    regressor: Regressor | None = None,
) -> NodeChain:
    """The cine chain with the networks given, else those of the folder, else the shipped ones."""
    from models.predict import HeartLocaliser, PhaseDetector, StackSegmenter
    from models.registry import opened

    settings = CineSettings()
    if detector is None and settings.detector != LV_AREA_CURVE:
        detector = opened(PhaseDetector, settings.detector, backend, folder)
    return NodeChain(
        opened(HeartLocaliser, settings.localiser, backend, folder),
        segmenter or opened(StackSegmenter, settings.segmenter, backend, folder),
        detector,
        regressor,
    )
