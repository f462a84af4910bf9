"""The same hearts as another scanner would show them: a fixed, named set of simulated changes.

Each change takes the images of one patient and gives the images, and the labels where the pixel
grid changes, that another sequence, coil or matrix would have given. What is random in them comes
from the patient's name, so that a repeated evaluation sees the same images. They are written apart
from the augmentation of training, so that a network is not measured on what it was fitted to.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from models.preprocess import CropGrid, crop
from models.training.cases import LabelledVolume

Float32 = npt.NDArray[np.float32]
Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class _Pair:
    """Images [n, y, x] in 0 to 1, pixel spacing (row_mm, column_mm), mean value of LV blood."""

    images: Float32
    spacing_mm: tuple[float, float]
    blood: float


def _gamma(exponent: float) -> Callable[[_Pair, Generator], Float32]:
    return lambda pair, _: np.power(pair.images, np.float32(exponent))


def _contrast(levels: tuple[float, ...]) -> Callable[[_Pair, Generator], Float32]:
    """Map intensities through a polyline over evenly spaced knots."""
    knots = np.linspace(0, 1, len(levels))
    return lambda pair, _: np.interp(pair.images, knots, levels).astype(np.float32)


def _low_contrast(pair: _Pair, generator: Generator) -> Float32:
    """Keep 40 % of what differs from the surroundings (15 mm), under a noise of 2 %."""
    around = _blurred(pair.images, pair.spacing_mm, 15.0)
    flat = around + 0.4 * (pair.images - around)
    noise = generator.normal(0, 0.02, flat.shape)
    return np.asarray(np.abs(flat + noise), dtype=np.float32)


def _bias_field(pair: _Pair, generator: Generator) -> Float32:
    """Multiply by a smooth field between about 0.5 and 2, the same in every slice."""
    coarse = torch.from_numpy(generator.normal(0, 1, (1, 1, 4, 4)))
    size = list(pair.images.shape[1:])
    field = functional.interpolate(coarse, size, mode="bicubic", align_corners=True)[0, 0].numpy()
    return np.asarray(pair.images * np.exp(0.7 * field / np.abs(field).max()), dtype=np.float32)


def _noise(pair: _Pair, generator: Generator) -> Float32:
    """Rician noise with a tenth of the value of blood: half the ratio of a good cine."""
    real, imaginary = generator.normal(0, pair.blood / 10, (2, *pair.images.shape))
    return np.asarray(np.hypot(pair.images + real, imaginary), dtype=np.float32)


def _blur(pair: _Pair, _: Generator) -> Float32:
    return _blurred(pair.images, pair.spacing_mm, 1.5)


def _blurred(images: Float32, spacing_mm: tuple[float, float], sigma_mm: float) -> Float32:
    """Gaussian blur in the plane."""
    values = torch.from_numpy(images)[:, None]
    for axis, step in zip((2, 3), spacing_mm, strict=True):
        reach = min(int(3 * sigma_mm / step) + 1, values.shape[axis] - 1)
        offsets = torch.arange(-reach, reach + 1) * step
        kernel = torch.exp(-0.5 * (offsets / sigma_mm) ** 2)
        shape, pad = [1, 1, 1, 1], [0, 0, 0, 0]
        shape[axis] = -1
        pad[2 * (3 - axis)] = pad[2 * (3 - axis) + 1] = reach
        padded = functional.pad(values, pad, mode="replicate")
        values = functional.conv2d(padded, (kernel / kernel.sum()).reshape(shape))
    return np.asarray(values[:, 0].numpy())


APPEARANCE: Mapping[str, Callable[[_Pair, Generator], Float32]] = {
    "contrast, bright blood compressed": _contrast((0.0, 0.4, 0.7, 0.88, 1.0)),
    "contrast, dark tissue compressed": _contrast((0.0, 0.12, 0.32, 0.62, 1.0)),
    "gamma 0.6": _gamma(0.6),
    "gamma 1.6": _gamma(1.6),
    "bias field": _bias_field,
    "noise, blood 10 times as strong": _noise,
    "blur 1.5 mm": _blur,
    "low contrast": _low_contrast,
}
SPACINGS_MM: Mapping[str, float] = {"spacing 0.8 mm": 0.8, "spacing 2.0 mm": 2.0}
CHANGES = (*APPEARANCE, *SPACINGS_MM)


def scanner_change(
    name: str, ed: LabelledVolume, es: LabelledVolume
) -> tuple[LabelledVolume, LabelledVolume]:
    """ED and ES of a patient after one of `CHANGES`; both change alike.

    A change of spacing resamples images (averaged where the new pixels are larger) and labels
    (each pixel gets the class with most of its area); the rest leaves the labels.
    """
    if name in SPACINGS_MM:
        return _resampled(ed, SPACINGS_MM[name]), _resampled(es, SPACINGS_MM[name])
    generator = np.random.default_rng(zlib.crc32(f"{name}/{ed.patient}".encode()))
    images = np.concatenate([ed.images, es.images])
    low, high = np.percentile(images, [0.1, 99.9])
    unit = np.clip((images - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)
    blood = float(unit[np.concatenate([ed.labels, es.labels]) == 1].mean())
    changed = 255 * APPEARANCE[name](_Pair(unit, ed.pixel_spacing_mm, blood), generator)
    stored = np.rint(changed).astype(np.float32)
    return replace(ed, images=stored[: len(ed.images)]), replace(
        es, images=stored[len(ed.images) :]
    )


def _resampled(volume: LabelledVolume, spacing_mm: float) -> LabelledVolume:
    """The volume on square pixels of another size over the same field of view."""
    rows, columns = (
        round(length * step / spacing_mm)
        for length, step in zip(volume.images.shape[1:], volume.pixel_spacing_mm, strict=True)
    )
    grid = CropGrid(rows, columns, spacing_mm, supersample=2)
    middle = ((volume.images.shape[1] - 1) / 2, (volume.images.shape[2] - 1) / 2)

    def laid(planes: npt.NDArray[np.float32]) -> torch.Tensor:
        return crop(torch.from_numpy(planes), volume.pixel_spacing_mm, middle, grid)

    classes = np.stack([volume.labels == label for label in range(4)], axis=1)
    return replace(
        volume,
        images=laid(volume.images[:, None])[:, 0].numpy(),
        labels=laid(classes.astype(np.float32)).argmax(dim=1).numpy().astype(np.uint8),
        pixel_spacing_mm=(spacing_mm, spacing_mm),
    )
