"""The shipped models: their cards, their weights, their architectures.

A model is `weights/<name>.toml`, its card, and the weights file that the card names with its
SHA-256. Reading and verifying needs no torch; building does.
"""

import hashlib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from config.errors import PermanentError

if TYPE_CHECKING:
    from torch import nn

    from models.backend import Backend

_Network = TypeVar("_Network")

WEIGHTS_FOLDER = Path(__file__).with_name("weights")


class WeightsError(PermanentError):
    """Weights or their card are missing, altered or of another shape."""


@dataclass(frozen=True, slots=True)
class Card:
    """What is said of a model.

    Attributes
    ----------
    name, version, task : str
        Task is "segmentation", "localisation", "ed_es_detection", "volume_regression",
        "slice_classification", "scar_segmentation", "ecg_classification",
        "perfusion_classification" or "disease_classification".
    summary, intended_use, limits, licence : str
        In words; the licence is that of the weights.
    data : tuple of str
        Sets the weights were fitted on, each with its licence and citation.
    architecture : str
        Name in `ARCHITECTURES`.
    parameters : mapping
        Arguments of the architecture.
    input : mapping
        Geometry of the input: `rows`, `columns`, `spacing_mm`, `supersample`, `normalisation`.
    calibration : mapping
        Constants of the read-out, where the task has some.
    metrics : mapping
        Measured figures with their n.
    weights_file, weights_sha256 : str
    """

    name: str
    version: str
    task: str
    summary: str
    intended_use: str
    limits: str
    licence: str
    data: tuple[str, ...]
    architecture: str
    parameters: Mapping[str, int]
    input: Mapping[str, Any]
    calibration: Mapping[str, float]
    metrics: Mapping[str, Any]
    weights_file: str
    weights_sha256: str


def home(name: str, own: Path | None) -> Path:
    """Folder in which a model lies.

    Parameters
    ----------
    name : str
    own : Path or None
        Folder of one's own, searched before `WEIGHTS_FOLDER`.

    Raises
    ------
    WeightsError
        The folder of one's own is not there.
    """
    if own is None:
        return WEIGHTS_FOLDER
    if not own.is_dir():
        raise WeightsError(f"weights folder {own} is not there")
    is_own = any((own / f"{name}{suffix}").is_file() for suffix in (".toml", ".npz"))
    return own if is_own or name not in names() else WEIGHTS_FOLDER


def opened(
    network: Callable[..., _Network],
    name: str,
    backend: "Backend",
    own: Path | None,
    **options: str,
) -> _Network:
    """Make a network of `models.predict` and the like from where its model lies; see `home`."""
    return network(name, backend, home(name, own), **options)


def names(folder: Path = WEIGHTS_FOLDER) -> tuple[str, ...]:
    """Names of the models of a folder."""
    return tuple(sorted(path.stem for path in folder.glob("*.toml")))


def card(name: str, folder: Path = WEIGHTS_FOLDER) -> Card:
    """Read the card of a model.

    Raises
    ------
    WeightsError
        There is no such model, or its card cannot be used.
    """
    path = folder / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(names(folder)) or "none"
        raise WeightsError(
            f"no model '{name}' in {folder}; known: {known}; the folder of one that you trained"
            " is named by [worker] weights_folder"
        )
    try:
        with path.open("rb") as stream:
            table = tomllib.load(stream)
        return Card(**table | {"name": name, "data": tuple(table["data"])})
    except (tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise WeightsError(f"the card of model '{name}' cannot be used: {error}") from error


def verify(name: str, folder: Path = WEIGHTS_FOLDER, task: str | None = None) -> Card:
    """Check the weights file of a model against its card and return the card.

    Parameters
    ----------
    name : str
    folder : Path
        Of its card and weights.
    task : str, optional
        What the model must be for.

    Raises
    ------
    WeightsError
        The file is missing or differs from what the card states; the card states another task or
        an architecture that is not known here.
    """
    found = card(name, folder)
    if task not in (None, found.task):
        raise WeightsError(f"model '{name}' is for {found.task}, not for {task}")
    if found.architecture not in ARCHITECTURES:
        raise _unknown_architecture(found.architecture)
    path = folder / found.weights_file
    if not path.is_file():
        raise WeightsError(f"weights of model '{name}' are missing: {found.weights_file}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != found.weights_sha256:
        raise WeightsError(f"weights of model '{name}' differ from what its card states")
    return found


def _lazily(module: str, name: str) -> Callable[..., "nn.Module"]:
    """A class of networks whose module, and torch with it, is imported when one is built."""

    def make(**parameters: int) -> "nn.Module":
        network: nn.Module = getattr(import_module(module), name)(**parameters)
        return network

    return make


ARCHITECTURES: Mapping[str, Callable[..., "nn.Module"]] = {
    "unet_2d": _lazily("models.unet", "UNet2D"),
    "residual_unet_2d": _lazily("models.residual_unet", "ResidualUNet2D"),
    "unet_3d": _lazily("models.unet3d", "UNet3D"),
    "pspunet": _lazily("models.pspunet", "PSPUNet"),
    "ed_es_detector": _lazily("models.ed_es_detector", "EdEsDetector"),
    "slice_cnn": _lazily("models.slice_networks", "SliceCNN"),
    "squeezenet": _lazily("models.slice_networks", "SqueezeNet"),
    "alexnet": _lazily("models.slice_networks", "AlexNet"),
    "googlenet": _lazily("models.slice_networks", "GoogLeNet"),
    "mobilenet": _lazily("models.mobilenet", "MobileNet"),
    "regression_unet": _lazily("models.regression_unet", "RegressionUNet"),
    "ecg_dual_branch": _lazily("models.ecg_network", "EcgDualBranch"),
    "resnet50v2": _lazily("models.resnet50v2", "ResNet50V2"),
    "logistic_regression": _lazily("models.logistic_regression", "LogisticRegression"),
}


def build(architecture: str, parameters: Mapping[str, int]) -> "nn.Module":
    """A network with initial weights.

    Raises
    ------
    WeightsError
        The architecture is unknown or does not take the parameters.
    """
    if architecture not in ARCHITECTURES:
        raise _unknown_architecture(architecture)
    try:
        return ARCHITECTURES[architecture](**parameters)
    except TypeError as error:
        raise WeightsError(f"architecture '{architecture}': {error}") from error


def _unknown_architecture(architecture: str) -> WeightsError:
    known = ", ".join(ARCHITECTURES)
    return WeightsError(f"no architecture '{architecture}'; known: {known}")


def load(
    name: str, folder: Path = WEIGHTS_FOLDER, task: str | None = None
) -> "tuple[nn.Module, Card]":
    """A verified network with its weights in float32, ready to predict, and its card.

    Parameters as those of `verify`.

    Raises
    ------
    WeightsError
        Weights are missing, altered, for another task or of another shape than the architecture.
    """
    import torch

    found = verify(name, folder, task)
    network = build(found.architecture, found.parameters)
    with np.load(folder / found.weights_file, allow_pickle=False) as stored:
        arrays = {key: torch.from_numpy(stored[key]) for key in stored.files}
    floating = {
        key: value.float() if value.is_floating_point() else value for key, value in arrays.items()
    }
    try:
        network.load_state_dict(floating)
    except RuntimeError as error:
        raise WeightsError(f"weights of model '{name}' do not fit its architecture") from error
    return network.eval(), found


def save_weights(network: "nn.Module", path: Path) -> str:
    """Write weights as an array file (npz without pickle) and return its SHA-256.

    Convolution kernels are kept in half precision; biases and batch statistics in single.
    """
    state = {key: value.detach().cpu().numpy() for key, value in network.state_dict().items()}
    arrays = {
        key: value.astype(np.float16) if value.ndim > 1 else value for key, value in state.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)
    return hashlib.sha256(path.read_bytes()).hexdigest()
