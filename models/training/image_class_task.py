"""The task of any classifier of whole images: which of its classes an image belongs to.

What an image is, how it is drawn at random and how it is prepared in service is the business of
each method; classes are balanced, learnt and measured alike for all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from models.training.augment import one_of
from models.training.metrics import class_figures
from models.training.tasks import NoDataError

_CHUNK = 16  # images per forward pass of a validation: bounds memory


class FromSet(Protocol):
    """What a draw looks at: the set that an entry comes from."""

    @property
    def dataset(self) -> str:
        """Name of the set."""
        ...


class Classed(FromSet, Protocol):
    """An image, or what one is made of, whose class is known."""

    @property
    def label(self) -> int:
        """Index of the class."""
        ...


Entry = TypeVar("Entry", bound=FromSet)
Case = TypeVar("Case", bound=Classed)

Pools = tuple[tuple[float, tuple[Entry, ...]], ...]
"""Of each set its share of the draws, and what is drawn from."""


def pools_of(entries: Iterable[Entry], shares: Mapping[str, float]) -> Pools[Entry]:
    """Entries by the set they come from; a set that is absent leaves its share to the others."""
    listed = tuple(entries)
    sets = (
        (share, tuple(entry for entry in listed if entry.dataset == name))
        for name, share in shares.items()
    )
    return tuple((share, pool) for share, pool in sets if pool)


def from_pools(pools: Pools[Entry], generator: Generator) -> Entry:
    """One entry: the set by its share, then each entry of it as likely."""
    shares = torch.tensor([share for share, _ in pools])
    _, pool = pools[int(torch.multinomial(shares, 1, generator=generator))]
    return one_of(pool, generator)


@dataclass(frozen=True, slots=True)
class ClassedImages(Generic[Case]):
    """How the images of a classifier are drawn and prepared.

    Attributes
    ----------
    classes : tuple of str
        Names, by index.
    drawn : callable
        Input [c, y, x] of the network made of a case at random, every draw from the generator.
    plain : callable
        Input [c, y, x] made of a case as in service.
    set_shares : mapping of str to float
        Share of each set in the draws of a class; sets that are absent leave theirs to the others.
    weighted : bool
        Classes are drawn as often as the sets hold them, and a class weighs the more in the loss
        the rarer it is. Otherwise each class is drawn as often as any other.
    label_smoothing : float
        Share of the truth that is spread over all classes.
    """

    classes: tuple[str, ...]
    drawn: Callable[[Case, Generator], Tensor]
    plain: Callable[[Case], Tensor]
    set_shares: Mapping[str, float]
    weighted: bool = False
    label_smoothing: float = 0.0


class ImageClassTask(Generic[Case]):
    """Cross entropy of drawn images; sensitivity of each class over plain ones.

    Parameters
    ----------
    images : ClassedImages
    train, validation : iterable of Case

    Raises
    ------
    NoDataError
        A class has no image to learn from.
    """

    def __init__(
        self, images: ClassedImages[Case], train: Iterable[Case], validation: Iterable[Case]
    ) -> None:
        cases = [case for case in train if case.dataset in images.set_shares]
        of_class = [
            [case for case in cases if case.label == label] for label in range(len(images.classes))
        ]
        missing = [name for name, found in zip(images.classes, of_class, strict=True) if not found]
        if missing:
            raise NoDataError(f"nothing to learn from of class: {', '.join(missing)}")
        drawn_together = [cases] if images.weighted else of_class
        self.images = images
        self.pools = tuple(pools_of(found, images.set_shares) for found in drawn_together)
        self.class_weights = torch.ones(len(of_class))
        if images.weighted:
            counts = torch.tensor([len(found) for found in of_class])
            self.class_weights = len(cases) / (len(of_class) * counts)
        self.validation = tuple(validation)

    def random_batch(self, size: int, generator: Generator) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Random images as `ClassedImages.drawn` makes them.

        Returns
        -------
        images : float tensor [size, c, y, x]
        (classes,) : int64 tensor [size]
        """
        chosen = torch.randint(len(self.pools), (size,), generator=generator).tolist()
        cases = [from_pools(self.pools[index], generator) for index in chosen]
        images = torch.stack([self.images.drawn(case, generator) for case in cases])
        return images, (torch.tensor([case.label for case in cases]),)

    def loss(self, outputs: Any, targets: tuple[Tensor, ...]) -> Tensor:
        """Cross entropy of logits [n, classes], weighted and smoothed as the images say."""
        logits: Tensor = outputs.float()
        (classes,) = targets
        return functional.cross_entropy(
            logits,
            classes,
            weight=self.class_weights.to(logits.device),
            label_smoothing=self.images.label_smoothing,
        )

    def validate(self, network: nn.Module, device: str) -> Mapping[str, float]:
        """Cross entropy, accuracy, and the sensitivity of each class; also set by set."""
        found = class_probabilities(network, map(self.images.plain, self.validation), device)
        truth = torch.tensor([case.label for case in self.validation])
        loss = functional.nll_loss(found.clamp(min=1e-12).log(), truth)
        figures = {"cross_entropy": round(float(loss), 4), **self._told(found, truth)}
        datasets = dict.fromkeys(case.dataset for case in self.validation)
        for dataset in datasets if len(datasets) > 1 else ():
            of_set = torch.tensor([case.dataset == dataset for case in self.validation])
            told = self._told(found[of_set], truth[of_set])
            figures |= {f"{name}_{dataset}": value for name, value in told.items()}
        return figures

    def _told(self, probabilities: Tensor, truth: Tensor) -> dict[str, float]:
        found: Sequence[int] = probabilities.argmax(dim=1).tolist()
        figures = class_figures(found, truth.tolist(), self.images.classes)
        kept = ("accuracy", "balanced_accuracy", "sensitivity_")
        return {name: value for name, value in figures.items() if name.startswith(kept)}


def class_probabilities(network: nn.Module, inputs: Iterable[Tensor], device: str) -> Tensor:
    """Probabilities [n, classes] of inputs [c, y, x]; the network is in evaluation mode."""
    listed = list(inputs)
    found = []
    for first in range(0, len(listed), _CHUNK):
        batch = torch.stack(listed[first : first + _CHUNK]).to(device)
        with torch.inference_mode():
            found.append(network(batch).float().softmax(dim=1).cpu())
    return torch.cat(found)
