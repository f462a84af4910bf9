"""The task of the ED/ES detector: which frame of a cyclic sequence is ED, and which ES."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from statistics import fmean
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn

from models.ed_es_detector import BACKGROUND, ED, ES, central_frame, framed, likeliest_frame
from models.preprocess import CropGrid, clip_to_unit, crop
from models.training.augment import change_appearance, moved, one_of, random_matrix
from models.training.metrics import cyclic_frames
from models.training.sequences import CineSequence, prepare_sequences
from models.training.tasks import NORMALISATION, NoDataError, Recipe, TrainSettings, load_task
from models.training.weighted_losses import one_hot, weighted_cross_entropy, weighted_dice_loss

DICE_WEIGHTS = (0.45, 0.45, 0.1)
CROSS_ENTROPY_WEIGHTS = (100.0, 100.0, 1.0)
_UNKNOWN = 0b1111  # any class: the frames are not labelled


@dataclass(frozen=True, slots=True)
class SequenceSampling:
    """How sequences are drawn and laid.

    Attributes
    ----------
    size : int
        Rows and columns of the network's input, at 1 mm; 176 as published would only add zeros.
    field_mm : int
        Side of the square about the heart that is filled; the rest of the input is zero. The
        public cines of ACDC are cut to about 150 mm, so service must not show more either.
    max_shift_mm, max_scale : float
        Largest shift of the square along each axis, and largest random scale.
    loss : {"dice", "cross_entropy"}
    set_shares : mapping of str to float
        Share of each set in the draws; sets that are absent leave theirs to the others.
    """

    size: int = 128
    field_mm: int = 128
    max_shift_mm: float = 15.0
    max_scale: float = 1.2
    loss: Literal["dice", "cross_entropy"] = "dice"
    set_shares: Mapping[str, float] = field(
        default_factory=lambda: {"acdc": 0.75, "synthetic": 0.25}
    )


class EdEsTask:
    """Weighted Dice or cross entropy over frames; frame errors of both read-outs.

    Parameters
    ----------
    sampling : SequenceSampling
    train, validation : sequence of CineSequence

    Raises
    ------
    NoDataError
        No set of the sampling has a sequence.
    """

    def __init__(
        self,
        sampling: SequenceSampling,
        train: Sequence[CineSequence],
        validation: Sequence[CineSequence],
    ) -> None:
        self.sampling = sampling
        chosen = {
            name: tuple(entry for entry in train if entry.dataset == name)
            for name in sampling.set_shares
        }
        self.sets = {name: entries for name, entries in chosen.items() if entries}
        self.validation = tuple(validation)
        if not self.sets:
            raise NoDataError(f"no cine of {', '.join(sampling.set_shares)}")

    def random_batch(self, size: int, generator: Generator) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Random sequences, augmented, brought to the length of the first and shifted in time.

        Returns
        -------
        frames : float tensor [size, 1, t, y, x]
        (classes,) : int64 tensor [size, t]
        """
        drawn = [self._draw(generator) for _ in range(size)]
        length = len(drawn[0].frames)
        frames, classes = [], []
        for entry in drawn:
            laid = at_length(_random_crop(entry, self.sampling, generator), length)
            shift = int(torch.randint(length, (), generator=generator))
            frames.append(laid.roll(shift, dims=1))
            classes.append(frame_classes(entry, length).roll(shift))
        changed = _changed(torch.cat(frames), generator)
        return framed(changed, self.sampling.size), (torch.stack(classes),)

    def loss(self, outputs: Any, targets: tuple[Tensor, ...]) -> Tensor:
        """Weighted Dice or cross entropy of logits [n, 3, t] and classes [n, t]."""
        (classes,) = targets
        logits = outputs.float()
        if self.sampling.loss == "cross_entropy":
            return weighted_cross_entropy(logits, classes, CROSS_ENTROPY_WEIGHTS)
        target = one_hot(classes, 3).float()
        return weighted_dice_loss(logits.softmax(dim=1), target, DICE_WEIGHTS)

    def validate(self, network: nn.Module, device: str) -> Mapping[str, float]:
        """Mean frame errors per set, phase and read-out, and the share of readings to review."""
        errors: dict[str, list[float]] = {}
        for entry in self.validation:
            inputs = self.plain(entry).to(device)
            with torch.inference_mode():
                probability = network(inputs)[0].float().softmax(dim=0).cpu().numpy()
            for label, name, truth in ((ED, "ed", entry.ed), (ES, "es", entry.es)):
                central = central_frame(probability[label])
                naive = likeliest_frame(probability[label])
                figures = {
                    f"frames_{entry.dataset}_{name}_central": central.frame - truth,
                    f"frames_{entry.dataset}_{name}_naive": naive.frame - truth,
                }
                for key, error in figures.items():
                    distance = cyclic_frames(error, 0, len(entry.frames))
                    errors.setdefault(key, []).append(distance)
                errors.setdefault(f"review_{entry.dataset}_{name}", []).append(not central.sure)
        return {key: round(fmean(values), 4) for key, values in errors.items()}

    def plain(self, entry: CineSequence) -> Tensor:
        """A sequence as service prepares it; float [1, 1, t, y, x]."""
        return framed(_lay(entry, self.sampling, entry.centre_yx, None), self.sampling.size)

    def _draw(self, generator: Generator) -> CineSequence:
        names = list(self.sets)
        shares = torch.tensor([self.sampling.set_shares[name] for name in names])
        name = names[int(torch.multinomial(shares, 1, generator=generator))]
        return one_of(self.sets[name], generator)


def frame_classes(entry: CineSequence, length: int) -> Tensor:
    """Class of each frame when the cycle has `length` frames; int64 [length]."""
    classes = torch.full((length,), BACKGROUND)
    for label, frame in ((ED, entry.ed), (ES, entry.es)):
        classes[round(frame * length / len(entry.frames)) % length] = label
    return classes


def at_length(frames: Tensor, length: int) -> Tensor:
    """A cyclic sequence [1, t, y, x] with another number of frames, interpolated in time."""
    count = frames.shape[1]
    if count == length:
        return frames
    place = torch.arange(length) * (count / length)
    before = place.long()
    share = (place - before)[:, None, None]
    mixed: Tensor = frames[:, before] * (1 - share) + frames[:, (before + 1) % count] * share
    return mixed


def _random_crop(entry: CineSequence, sampling: SequenceSampling, generator: Generator) -> Tensor:
    centre = moved(entry.centre_yx, entry.pixel_spacing_mm, sampling.max_shift_mm, generator)
    return _lay(entry, sampling, centre, random_matrix(generator, sampling.max_scale))


def _lay(
    entry: CineSequence,
    sampling: SequenceSampling,
    centre_yx: tuple[float, float],
    matrix: Tensor | None,
) -> Tensor:
    """Frames [1, t, y, x] of the filled square, in grey values."""
    grid = CropGrid(sampling.field_mm, sampling.field_mm, 1.0)
    frames = torch.from_numpy(entry.frames)[None].float()
    return crop(frames, entry.pixel_spacing_mm, centre_yx, grid, matrix=matrix)


def _changed(frames: Tensor, generator: Generator) -> Tensor:
    """Another appearance for each sequence, the same for all its frames."""
    unit = clip_to_unit(frames)
    unlabelled = torch.full_like(unit, _UNKNOWN, dtype=torch.uint8)
    return change_appearance(unit, unlabelled, generator)


def ed_es_recipe(sampling: SequenceSampling) -> Recipe:
    """Recipe of the detector."""
    return Recipe(
        task="ed_es_detection",
        architecture="ed_es_detector",
        parameters={"width": 16, "size": sampling.size},
        input={
            "rows": sampling.size,
            "columns": sampling.size,
            "spacing_mm": 1.0,
            "field_mm": sampling.field_mm,
            "projection": "median of the slices",
            "normalisation": f"each frame: {NORMALISATION}",
        },
        load=partial(load_task, partial(EdEsTask, sampling), prepare_sequences),
        settings=TrainSettings(steps=3_000, batch=2, learning_rate=5e-4),
        sets=tuple(sampling.set_shares),
    )


ED_ES_RECIPES: Mapping[str, Recipe] = {
    "cine_ed_es": ed_es_recipe(SequenceSampling()),
    "cine_ed_es_cross_entropy": ed_es_recipe(replace(SequenceSampling(), loss="cross_entropy")),
}
