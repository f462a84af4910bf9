"""What the one training loop asks of a model's task, and how a recipe states it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from torch import Generator, Tensor, nn

from config.errors import PermanentError
from models.split import Part

NORMALISATION = "clip to 0.5-99.5 percentiles, z-score"
"""What `models.preprocess.normalise` does, in the words of a card."""

Case = TypeVar("Case")
AnyTask = TypeVar("AnyTask", "Task", "SolvedTask")


class Task(Protocol):
    """What a network learns: its draws, its loss, its validation."""

    def random_batch(self, size: int, generator: Generator) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Inputs of the network [size, ...] and what the loss compares with, on the CPU.

        Every draw comes from the generator, so a step can be repeated.
        """
        ...

    def loss(self, outputs: Any, targets: tuple[Tensor, ...]) -> Tensor:
        """Loss of what the network gave for the inputs of a batch; on the network's device."""
        ...

    def validate(self, network: nn.Module, device: str) -> Mapping[str, float]:
        """Figures on the validation patients; the network is in evaluation mode."""
        ...


@runtime_checkable
class SolvedTask(Protocol):
    """What a network learns without steps: the solution of an equation."""

    def solve(self, network: nn.Module) -> Mapping[str, float]:
        """Put the solution into the network; figures on the validation patients."""
        ...


class NoDataError(PermanentError):
    """None of the sets that a task learns from is there."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Settings of a training run; kept in its checkpoints.

    Attributes
    ----------
    steps, batch : int
        Optimiser steps in all, and samples per step.
    optimiser : {"adamw", "adam", "sgd"}
        With AdamW the rate rises over `warmup_steps` and falls to zero on a cosine; with Adam and
        with SGD (momentum 0.9) it stays as it is.
    learning_rate, weight_decay : float
    average_decay : float
        Decay of the running average of the weights; the average is what is shipped. 0: the
        current weights are.
    mixed_precision : bool
        bfloat16 autocast in the forward pass.
    seed : int
        Decides initial weights and every draw of every step.
    validate_every, checkpoint_every : int
        Steps between validations and between checkpoints.
    threads : int
        CPU threads; 0 lets the library choose.
    patience : int
        The run ends when the cross entropy of the validation has not fallen below its lowest for
        so many validations; 0: it never ends early. For tasks that tell one.
    """

    steps: int = 12_000
    batch: int = 8
    optimiser: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    warmup_steps: int = 200
    average_decay: float = 0.998
    mixed_precision: bool = True
    seed: int = 0
    validate_every: int = 500
    checkpoint_every: int = 250
    threads: int = 0
    patience: int = 0


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one model is trained.

    Attributes
    ----------
    task : str
        What the model is for, as on its card: "segmentation", "localisation", ...
    architecture, parameters
        Name in `models.registry.ARCHITECTURES` and its arguments.
    input : mapping
        Geometry of the input, for the card; what service needs to prepare images alike.
    load : callable
        Task of the labelled sets: `load(data, prepared, sets)` with the folder of the sets, the
        folder for the array files made of them, and the names of the sets to fit on.
    settings : TrainSettings
        What a run uses unless it is told otherwise.
    sets : tuple of str
        Names of the sets that it can learn from.
    """

    task: str
    architecture: str
    parameters: Mapping[str, int]
    input: Mapping[str, Any]
    load: Callable[[Path, Path, tuple[str, ...]], Task | SolvedTask]
    settings: TrainSettings = field(default_factory=TrainSettings)
    sets: tuple[str, ...] = ("acdc", "mnms", "sunnybrook", "synthetic", "studies")


def load_task(
    make: Callable[[Sequence[Case], Sequence[Case]], AnyTask],
    prepare: Callable[[Path, Path, Part, tuple[str, ...]], Sequence[Case]],
    data: Path,
    prepared: Path,
    sets: tuple[str, ...],
) -> AnyTask:
    """Task of the cases to fit and of the validation cases; see `Recipe.load`.

    Parameters
    ----------
    make : callable
        The task of the two.
    prepare : callable
        Cases of one part, through array files: `prepare(data, prepared, part, sets)`.
    data, prepared, sets
        As `Recipe.load` takes them.
    """
    train = prepare(data, prepared, "train", sets)
    return make(train, prepare(data, prepared, "validation", sets))
