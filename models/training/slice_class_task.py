"""The task of the slice classifier: whether a whole slice shows the LV.

Slices with LV come from every set. Slices without come from the ends of cine stacks and of
synthetic hearts, in cine and in LGE contrast; LGE stacks have none, so there the LV is covered by
another part of the same image. Slices with LV get such a patch beside the LV too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from models.preprocess import normalise
from models.slice_classifier import whole_slices
from models.training.augment import change_appearance, moved, random_matrix, uniform
from models.training.data import prepare
from models.training.emidec import as_hearts, is_lge
from models.training.image_class_task import from_pools, pools_of
from models.training.lge_contrast import as_lge
from models.training.metrics import classification
from models.training.slices import LabelledSlice
from models.training.tasks import NORMALISATION, NoDataError, Recipe, TrainSettings, load_task
from models.training.whole_slices import (
    WHOLE_SLICE,
    WholeSlice,
    laid,
    lv_of,
    patched,
    plain_slices,
)

_LV_WEIGHT = 8.0  # of a place with LV; about one in twenty is one


@dataclass(frozen=True, slots=True)
class ClassSampling:
    """How whole slices are drawn; either class makes up half of the draws.

    Attributes
    ----------
    lge_share : float
        Share of the cine slices that are turned to LGE contrast.
    patched_share : float
        Share of the slices with LV that get a patch beside it.
    max_shift_mm, max_scale : float
        Largest shift of the LV from the middle along each axis, and largest random scale.
    showing, empty : mapping of str to float
        Share of each set among slices with LV and among those without; sets that are absent leave
        theirs to the others.
    """

    lge_share: float
    patched_share: float
    showing: Mapping[str, float]
    empty: Mapping[str, float]
    max_shift_mm: float = 50.0
    max_scale: float = 1.2


class SliceClassTask:
    """Cross entropy of balanced draws; balanced accuracy of plain slices.

    Parameters
    ----------
    sampling : ClassSampling
    train, validation : iterable of LabelledSlice

    Raises
    ------
    NoDataError
        One of the two classes is missing.
    """

    def __init__(
        self,
        sampling: ClassSampling,
        train: Iterable[LabelledSlice],
        validation: Iterable[LabelledSlice],
    ) -> None:
        entries = as_hearts(train)
        shown = [entry for entry in entries if entry.shows_lv]
        hidden = [entry for entry in entries if not entry.shows_lv or entry.dataset == "emidec"]
        self.sampling = sampling
        self.pools = (pools_of(hidden, sampling.empty), pools_of(shown, sampling.showing))
        if not all(self.pools):
            raise NoDataError("slices that show the LV and slices that do not are needed")
        self.validation = tuple(
            whole
            for whole in plain_slices(as_hearts(validation))
            if whole.contrast == "cine" or sampling.lge_share
        )

    def random_batch(self, size: int, generator: Generator) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Random slices, augmented.

        Returns
        -------
        images : float tensor [size, 1, y, x]
            Normalised as in service.
        (classes, lv) : int64 tensor [size], bool tensor [size, 1, y, x]
            1 where the LV is shown, and where in the slice it is.
        """
        classes = (torch.rand(size, generator=generator) < 0.5).long()
        drawn = [self._draw(shows, generator) for shows in classes.tolist()]
        images = torch.cat([image for image, _ in drawn])
        lv = torch.cat([mask for _, mask in drawn])
        return normalise(change_appearance(images, None, generator)), (classes, lv)

    def _draw(self, shows: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """One slice of a class, laid at random, in 0 to 1, and its LV; [1, 1, y, x]."""
        sampling = self.sampling
        entry = from_pools(self.pools[shows], generator)
        centre = moved(entry.centre_yx, entry.pixel_spacing_mm, sampling.max_shift_mm, generator)
        matrix = random_matrix(generator, sampling.max_scale, turned=0.1, mirrored=0.1)
        image, allowed, inside = laid(entry, centre, matrix)
        if entry.shows_lv and (not shows or uniform(0, 1, generator) < sampling.patched_share):
            image = patched(image, allowed, generator, over_heart=not shows)
        if not is_lge(entry) and uniform(0, 1, generator) < sampling.lge_share:
            image = as_lge(image, allowed, inside, generator)
        return image, lv_of(allowed) & bool(shows)

    def loss(self, outputs: Any, targets: tuple[Tensor, ...]) -> Tensor:
        """`class_loss`."""
        return class_loss(outputs, *targets)

    def validate(self, network: nn.Module, device: str) -> Mapping[str, float]:
        """Figures over all validation slices together, as `slice_figures` gives them."""
        return slice_figures(network, self.validation, device)


def class_loss(outputs: Any, classes: Tensor, lv: Tensor) -> Tensor:
    """Cross entropy of slices, and of the places where a network speaks of these.

    Parameters
    ----------
    outputs : tensor [n, 2] or tuple of tensors [n, 2] and [n, places, places]
        Logits of the slices, and log odds of the LV by place.
    classes : int64 tensor [n]
    lv : bool tensor [n, 1, y, x]
    """
    logits, places = outputs if isinstance(outputs, tuple) else (outputs, None)
    loss = functional.cross_entropy(logits.float(), classes)
    if places is None:
        return loss
    there = functional.adaptive_max_pool2d(lv.float(), places.shape[1:])[:, 0]
    weight = torch.where(there > 0, _LV_WEIGHT, 1.0)
    return loss + functional.binary_cross_entropy_with_logits(places.float(), there, weight)


def slice_figures(
    network: nn.Module, slices: Sequence[WholeSlice], device: str
) -> Mapping[str, float]:
    """Cross entropy, and `classification`, over slices; the network is in evaluation mode."""
    found = lv_probability(network, slices, device)
    truth = torch.tensor([float(whole.entry.shows_lv) for whole in slices])
    loss = functional.binary_cross_entropy(found, truth)
    return {
        "cross_entropy": round(float(loss), 4),
        **classification((found >= 0.5).tolist(), truth.bool().tolist()),
    }


def lv_probability(network: nn.Module, slices: Iterable[WholeSlice], device: str) -> Tensor:
    """Probability [n] that each slice shows the LV; the network is in evaluation mode."""
    found = []
    for whole in slices:
        image = torch.from_numpy(whole.image)[None, None].to(device)
        inputs = whole_slices(image, whole.entry.pixel_spacing_mm, WHOLE_SLICE)
        with torch.inference_mode():
            found.append(network(inputs).float().softmax(dim=1)[0, 1].cpu())
    return torch.stack(found)


def class_recipe(
    architecture: str,
    parameters: Mapping[str, int],
    sampling: ClassSampling,
    settings: TrainSettings,
) -> Recipe:
    """Recipe of a network that tells slices with LV from those without."""
    return Recipe(
        task="slice_classification",
        architecture=architecture,
        parameters=parameters,
        input=asdict(WHOLE_SLICE) | {"normalisation": NORMALISATION},
        load=partial(load_task, partial(SliceClassTask, sampling), prepare),
        settings=settings,
        sets=tuple(sampling.showing),
    )


LGE_SLICES = ClassSampling(
    lge_share=0.65,
    patched_share=0.3,
    showing={"acdc": 0.4, "mnms": 0.4, "emidec": 0.4, "synthetic": 0.1, "synthetic_lge": 0.1},
    empty={"acdc": 0.5, "mnms": 0.5, "emidec": 0.25, "synthetic": 0.12, "synthetic_lge": 0.13},
)
CINE_SLICES = ClassSampling(
    lge_share=0.0,
    patched_share=0.0,
    showing={"acdc": 0.8, "mnms": 0.8, "synthetic": 0.2},
    empty={"acdc": 0.7, "mnms": 0.7, "synthetic": 0.3},
)
SLICE_SETS = tuple(LGE_SLICES.showing)
PAPER_SETTINGS = TrainSettings(
    steps=2_000, batch=16, learning_rate=1e-4, optimiser="adam", average_decay=0.0, weight_decay=0.0
)
_SHIPPED_SETTINGS = TrainSettings(steps=8_000, batch=16, learning_rate=1e-3)
SLICE_CLASS_RECIPES: Mapping[str, Recipe] = {
    name: class_recipe("slice_cnn", {"arrangement": 2}, sampling, _SHIPPED_SETTINGS)
    for name, sampling in (("lge_slices", LGE_SLICES), ("cine_slices", CINE_SLICES))
}
