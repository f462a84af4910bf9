"""Initial weights from a file: of a shipped model, of a run, or anyone's state dict."""

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from models.registry import WeightsError

_FEATURES = "features."


@runtime_checkable
class Freezable(Protocol):
    """A network that keeps its early layers when it starts from weights of a file."""

    def freeze(self) -> None:
        """Keep the early layers as they are from now on."""
        ...


def load_initial(network: nn.Module, path: Path) -> None:
    """Replace the weights of a network by those of a file, by name: all, or all `features`.

    Parameters
    ----------
    network : Module
        Stays as it is where the file cannot be used.
    path : Path
        `.npz` as `models.registry.save_weights` writes it, else a state dict or a checkpoint of
        the training loop (its averaged weights, the best where it knows them), as `torch.save`
        writes it. Nothing but numbers is read from either. One that holds weights of `features`
        alone, as of a network that told other classes, leaves the head as it is.

    Raises
    ------
    WeightsError
        The file is missing, unreadable, or its weights differ from the network's in name or
        shape.
    """
    if not path.is_file():
        raise WeightsError(f"initial weights are missing: {path.name}")
    try:
        found = _arrays(path) if path.suffix == ".npz" else _state_dict(path)
    except (OSError, ValueError, RuntimeError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise WeightsError(f"initial weights cannot be read: {path.name}: {error}") from error
    except pickle.UnpicklingError as error:
        raise WeightsError(f"initial weights hold more than numbers: {path.name}") from error
    wanted = network.state_dict()
    if found and all(name.startswith(_FEATURES) for name in found):
        wanted = {name: value for name, value in wanted.items() if name.startswith(_FEATURES)}
    problem = _difference(wanted, found)
    if problem:
        raise WeightsError(f"initial weights of {path.name} do not fit the network: {problem}")
    network.load_state_dict(found, strict=False)


def _arrays(path: Path) -> dict[str, Tensor]:
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


def _state_dict(path: Path) -> dict[str, Tensor]:
    stored: Any = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(stored, Mapping) and isinstance(stored.get("average"), Mapping):
        stored = stored.get("best", stored["average"])
    if not isinstance(stored, Mapping) or not all(
        isinstance(value, Tensor) for value in stored.values()
    ):
        raise ValueError("it is no state dict")
    return dict(stored)


def _difference(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """What is missing, unknown or of another shape; empty where all fits."""
    for problem, names in (
        ("missing", wanted.keys() - found.keys()),
        ("unknown", found.keys() - wanted.keys()),
    ):
        if names:
            return f"{problem}: {', '.join(sorted(names)[:3])} ({len(names)} in all)"
    other = [
        f"{name} {tuple(found[name].shape)} for {tuple(value.shape)}"
        for name, value in wanted.items()
        if found[name].shape != value.shape
    ]
    return f"another shape: {', '.join(other[:3])} ({len(other)} in all)" if other else ""
