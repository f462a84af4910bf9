"""Prediction: images in, where the heart lies and labels out; numpy on both sides."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.backend import CPU, Backend
from models.ed_es_detector import (
    ED,
    ES,
    FrameReading,
    central_frame,
    framed,
    median_projection,
)
from models.preprocess import CropGrid, crop, normalise, restore
from models.registry import WEIGHTS_FOLDER, load
from models.windows import window_probabilities

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
UInt8 = npt.NDArray[np.uint8]

_CHUNK = 16  # images per forward pass: bounds memory
_NEAR_MM = 60.0  # the LV lies within so far of the heart centre


@dataclass(frozen=True, slots=True)
class Localisation:
    """Where the heart lies in the images of one stack.

    Attributes
    ----------
    lv_probability : float64 [n]
        Calibrated probability that the image shows the LV.
    centre_yx : (float, float)
        Centre of the LV in pixels (row, column), from all images together. Means nothing where
        no image shows the LV.
    lv_area_mm2 : float64 [n]
        Area of LV cavity and myocardium on the coarse grid.
    """

    lv_probability: Float64
    centre_yx: tuple[float, float]
    lv_area_mm2: Float64


_MAY_ROUND = "segmentation"


class TaskNetwork:
    """A network that does a task of the pipelines.

    Only the segmentation of cines computes in the precision of the backend. Others say yes or no,
    or cost little, and compute in float32: a slice at the threshold would come in by one precision
    and stay out by the other.

    Parameters
    ----------
    task : str
    name : str
        A model with that task.
    backend : Backend
        What computes it.
    folder : Path
        Of its card and weights.

    Raises
    ------
    WeightsError
        The model is missing, altered or has another task.
    """

    def __init__(self, task: str, name: str, backend: Backend, folder: Path) -> None:
        network, self.card = load(name, folder, task)
        self._network = (backend if task == _MAY_ROUND else backend.exact).ready(network)
        self._device = backend.device


class HeartLocaliser(TaskNetwork):
    """Finds the heart in whole images, and the images that show the LV."""

    def __init__(
        self,
        name: str = "heart_localiser",
        backend: Backend = CPU,
        folder: Path = WEIGHTS_FOLDER,
    ) -> None:
        super().__init__("localisation", name, backend, folder)

    def __call__(self, images: Float32, pixel_spacing_mm: tuple[float, float]) -> Localisation:
        """Locate the heart in images of one stack that share their pixel grid.

        Parameters
        ----------
        images : float32 [n, y, x]
            Slices, phases or both, in any order.
        pixel_spacing_mm : (row_mm, column_mm)
        """
        grid = _covering(grid_of(self.card.input), images.shape[1:], pixel_spacing_mm)
        middle = ((images.shape[1] - 1) / 2, (images.shape[2] - 1) / 2)
        probability = torch.cat(
            [
                _probabilities(
                    self._network, normalise(crop(chunk, pixel_spacing_mm, middle, grid))
                )[:, 1:3].sum(dim=1)
                for chunk in _chunks(images, self._device)
            ]
        )
        centre = _centre(probability, grid.spacing_mm)
        near = _within(probability, centre, _NEAR_MM / grid.spacing_mm)
        evidence = lv_evidence(near)
        slope, intercept = self.card.calibration["slope"], self.card.calibration["intercept"]
        area = near.sum(dim=(1, 2)) * grid.spacing_mm**2
        return Localisation(
            lv_probability=1 / (1 + np.exp(-(slope * evidence + intercept))),
            centre_yx=_to_image(centre, grid, pixel_spacing_mm, middle),
            lv_area_mm2=area.double().cpu().numpy(),
        )


class StackSegmenter(TaskNetwork):
    """Labels LV cavity, LV myocardium and RV cavity in a heart-centred crop of every slice.

    With the task "scar_segmentation" it labels 1 LV cavity, 2 normal myocardium, 3 infarct,
    4 no-reflow.
    """

    def __init__(
        self,
        name: str = "cine_residual_unet",
        backend: Backend = CPU,
        folder: Path = WEIGHTS_FOLDER,
        *,
        task: Literal["segmentation", "scar_segmentation"] = "segmentation",
    ) -> None:
        super().__init__(task, name, backend, folder)

    def __call__(
        self,
        frames: Float32,
        slices: Sequence[int],
        pixel_spacing_mm: tuple[float, float],
        centre_yx: tuple[float, float],
        *,
        careful: bool = False,
    ) -> UInt8:
        """Label some slices of a stack in every phase; the others may serve as their context.

        Parameters
        ----------
        frames : float32 [t, z, y, x]
        slices : sequence of int
            Indices along z.
        pixel_spacing_mm : (row_mm, column_mm)
        centre_yx : (float, float)
            Heart centre in pixels (row, column).
        careful : bool
            Take the mean of the probabilities over the image and its mirror image, which takes
            twice the time. Windows of slices overlap, and are averaged already.

        Returns
        -------
        uint8 [t, len(slices), y, x]
            On the pixels of the frames: 0 background, 1 LV cavity, 2 LV myocardium, 3 RV cavity;
            of scar as said above.
        """
        grid = grid_of(self.card.input)
        shape = (frames.shape[2], frames.shape[3])
        labels = np.zeros((len(frames), len(slices), *shape), dtype=np.uint8)
        seen, groups = _groups(slices, frames.shape[1], self._context)
        for phase, images in enumerate(frames[:, seen]):
            tensor = torch.from_numpy(np.ascontiguousarray(images))[:, None].to(self._device)
            inputs = normalise(crop(tensor, pixel_spacing_mm, centre_yx, grid))[:, 0]
            probabilities = self._probabilities(inputs, groups, careful)
            values, window = restore(probabilities, grid, shape, pixel_spacing_mm, centre_yx)
            found = values.max(dim=1).indices.to(torch.uint8)  # as argmax, in a fifth of its time
            labels[phase, :, window[0], window[1]] = found.cpu().numpy()
        return labels

    @property
    def _context(self) -> int:
        """Slices on either side that have a say in the labels of one."""
        depth: int = self.card.input.get("depth", 0)
        context: int = self.card.input.get("context", 0)
        return depth - 1 if depth else context

    def _probabilities(self, inputs: Tensor, groups: Tensor, careful: bool) -> Tensor:
        """Class probabilities [n, classes, y, x] of the middle slices of groups of inputs."""
        if "depth" in self.card.input:
            stack = window_probabilities(self._network, inputs, self.card.input["depth"])
            return stack.transpose(0, 1)[groups[:, self._context]]
        look = _mirrored_probabilities if careful else _probabilities
        return torch.cat(
            [look(self._network, inputs[part]) for part in torch.split(groups, _CHUNK)]
        )


def _groups(slices: Sequence[int], n_slices: int, context: int) -> tuple[list[int], Tensor]:
    """Which slices a network sees, and for each slice to label the indices among them.

    Returns
    -------
    seen : list of int
        Indices along z, ascending.
    groups : int64 tensor [len(slices), 2 context + 1]
        The slice between its neighbours; beyond an end of the stack the last slice repeats.
    """
    steps = range(-context, context + 1)
    places = [[min(max(z + step, 0), n_slices - 1) for step in steps] for z in slices]
    seen = sorted({z for group in places for z in group})
    return seen, torch.tensor([[seen.index(z) for z in group] for group in places])


class PhaseDetector(TaskNetwork):
    """Finds ED and ES in a whole cine by a network over time (`models.ed_es_detector`).

    `read` tells a frame from the probability [t] of each: `central_frame` or `likeliest_frame`.
    """

    def __init__(
        self,
        name: str = "cine_ed_es",
        backend: Backend = CPU,
        folder: Path = WEIGHTS_FOLDER,
        read: Callable[[Float64], FrameReading] = central_frame,
    ) -> None:
        super().__init__("ed_es_detection", name, backend, folder)
        self._read = read

    def __call__(
        self,
        frames: Float32,
        pixel_spacing_mm: tuple[float, float],
        centre_yx: tuple[float, float],
    ) -> tuple[FrameReading, FrameReading]:
        """Read ED and ES.

        Parameters
        ----------
        frames : float32 [t, z, y, x]
            The slices that show the ventricle; the first and the last of them do not count.
        pixel_spacing_mm : (row_mm, column_mm)
        centre_yx : (float, float)
            Heart centre in pixels (row, column).

        Returns
        -------
        ed, es : FrameReading
        """
        field_mm = self.card.input["field_mm"]
        projected = torch.from_numpy(median_projection(frames))[None].to(self._device)
        laid = crop(projected, pixel_spacing_mm, centre_yx, CropGrid(field_mm, field_mm, 1.0))
        with torch.inference_mode():
            logits = self._network(framed(laid, self.card.input["rows"]))[0].float()
        probability = logits.softmax(dim=0).cpu().numpy()
        return self._read(probability[ED]), self._read(probability[ES])


def lv_evidence(probability: Tensor) -> Float64:
    """Log odds of the strongest spot of LV, averaged over 3x3 pixels; [n] of [n, y, x]."""
    spot = functional.avg_pool2d(probability[:, None], 3, stride=1, padding=1)
    strongest = spot.flatten(1).amax(dim=1).double().clamp(1e-4, 1 - 1e-4).cpu().numpy()
    return np.asarray(np.log(strongest / (1 - strongest)), dtype=np.float64)


def grid_of(values: Mapping[str, Any]) -> CropGrid:
    """The grid that the `input` of a card describes."""
    return CropGrid(values["rows"], values["columns"], values["spacing_mm"], values["supersample"])


def _covering(grid: CropGrid, shape: tuple[int, ...], spacing_mm: tuple[float, float]) -> CropGrid:
    """The grid at a size that covers the whole image, in multiples of 16 pixels."""
    rows, columns = (
        max(64, -(-int(np.ceil(length * step / grid.spacing_mm)) // 16) * 16)
        for length, step in zip(shape, spacing_mm, strict=True)
    )
    return CropGrid(rows, columns, grid.spacing_mm, grid.supersample)


def _chunks(images: Float32, device: str) -> Iterator[Tensor]:
    """Batches [n, 1, y, x] of images [n, y, x]."""
    for first in range(0, len(images), _CHUNK):
        chunk = np.ascontiguousarray(images[first : first + _CHUNK], dtype=np.float32)
        yield torch.from_numpy(chunk)[:, None].to(device)


def _probabilities(network: nn.Module, inputs: Tensor) -> Tensor:
    with torch.inference_mode():
        logits: Tensor = network(inputs.contiguous(memory_format=torch.channels_last))
        return logits.float().softmax(dim=1)


def _mirrored_probabilities(network: nn.Module, inputs: Tensor) -> Tensor:
    """Mean over the image and its mirror image."""
    mirrored = _probabilities(network, inputs.flip(-1)).flip(-1)
    return (_probabilities(network, inputs) + mirrored) / 2


def _centre(probability: Tensor, spacing_mm: float) -> tuple[float, float]:
    """Centre (row, column) of the LV in the coarse grid, from all images together.

    The place with the most LV probability within 45 mm, then twice the centroid of what lies
    near; a spurious spot elsewhere does not pull it.
    """
    total = probability.sum(dim=0)
    size = 2 * round(22.5 / spacing_mm) + 1
    mass = functional.avg_pool2d(total[None, None], size, stride=1, padding=size // 2)[0, 0]
    row, column = divmod(int(mass.argmax()), mass.shape[1])
    centre = (float(row), float(column))
    rows = torch.arange(total.shape[0], device=total.device)
    columns = torch.arange(total.shape[1], device=total.device)
    for _ in range(2):
        near = _within(total[None], centre, _NEAR_MM / spacing_mm)[0]
        weight = float(near.sum())
        if weight <= 0:
            return centre
        centre = (
            float((near.sum(dim=1) * rows).sum()) / weight,
            float((near.sum(dim=0) * columns).sum()) / weight,
        )
    return centre


def _within(probability: Tensor, centre: tuple[float, float], radius: float) -> Tensor:
    """Probability [n, y, x] with what lies farther than `radius` pixels set to 0."""
    rows = torch.arange(probability.shape[1], device=probability.device)[:, None] - centre[0]
    columns = torch.arange(probability.shape[2], device=probability.device)[None] - centre[1]
    return probability * (rows**2 + columns**2 <= radius**2)


def _to_image(
    centre: tuple[float, float],
    grid: CropGrid,
    spacing_mm: tuple[float, float],
    middle: tuple[float, float],
) -> tuple[float, float]:
    """Position in the coarse grid -> pixels of the image."""
    row_mm = (centre[0] - (grid.rows - 1) / 2) * grid.spacing_mm
    column_mm = (centre[1] - (grid.columns - 1) / 2) * grid.spacing_mm
    return middle[0] + row_mm / spacing_mm[0], middle[1] + column_mm / spacing_mm[1]
