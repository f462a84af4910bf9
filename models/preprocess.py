"""Resample, crop, normalise and restore: the one code of training and of service.

A crop is a square-pixel grid laid over an image at a physical distance from a centre. Images are
`[n, c, y, x]`, pixel spacing is (row_mm, column_mm), positions are (y, x) in pixels with pixel
centres at whole numbers, matrices act on (y, x) offsets in mm.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class CropGrid:
    """A grid of square pixels around a centre.

    Attributes
    ----------
    rows, columns : int
        Size in pixels.
    spacing_mm : float
        Distance of its pixels.
    supersample : int
        Points per pixel and axis that are averaged, against aliasing when the grid is coarser
        than the image.
    """

    rows: int
    columns: int
    spacing_mm: float
    supersample: int = 1


def _points(grid: CropGrid, device: torch.device) -> Tensor:
    """Offsets (y, x) in mm of the sampling points from the grid's centre; [rows, columns, 2]."""
    step = grid.spacing_mm / grid.supersample
    axes = [
        (torch.arange(size * grid.supersample, device=device) - (size * grid.supersample - 1) / 2)
        * step
        for size in (grid.rows, grid.columns)
    ]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def _sample_at(images: Tensor, points_yx: Tensor, mode: str) -> Tensor:
    """Values of images [n, c, y, x] at points [rows, columns, 2] in pixels; 0 outside."""
    size = torch.tensor(images.shape[-2:], device=images.device)
    relative = 2 * points_yx / (size - 1).clamp(min=1) - 1
    places = relative.flip(-1).expand(len(images), -1, -1, -1)
    return functional.grid_sample(
        images, places, mode=mode, padding_mode="zeros", align_corners=True
    )


def crop(
    images: Tensor,
    pixel_spacing_mm: tuple[float, float],
    centre_yx: tuple[float, float],
    grid: CropGrid,
    *,
    matrix: Tensor | None = None,
    mode: str = "bilinear",
) -> Tensor:
    """Lay a grid over images.

    Parameters
    ----------
    images : float tensor [n, c, y, x]
    pixel_spacing_mm : (row_mm, column_mm)
    centre_yx : (float, float)
        Where the grid's centre lies, in pixels.
    grid : CropGrid
    matrix : float tensor [2, 2], optional
        Linear map applied to the offsets (y, x) in mm, for augmentation.
    mode : {"bilinear", "nearest"}
        "nearest" ignores supersampling, for labels.

    Returns
    -------
    float tensor [n, c, grid.rows, grid.columns]
        Zero where the grid leaves the image.
    """
    if mode == "nearest":
        grid = CropGrid(grid.rows, grid.columns, grid.spacing_mm)
    offsets = _points(grid, images.device)
    if matrix is not None:
        offsets = offsets @ matrix.T
    spacing = offsets.new_tensor(pixel_spacing_mm)
    points = offsets.new_tensor(centre_yx) + offsets / spacing
    sampled = _sample_at(images, points, mode)
    if grid.supersample == 1:
        return sampled
    return functional.avg_pool2d(sampled, grid.supersample)


def restore(
    cropped: Tensor,
    grid: CropGrid,
    shape: tuple[int, int],
    pixel_spacing_mm: tuple[float, float],
    centre_yx: tuple[float, float],
) -> tuple[Tensor, tuple[slice, slice]]:
    """Bring a crop back to the pixels of the image it came from.

    Parameters
    ----------
    cropped : float tensor [n, c, grid.rows, grid.columns]
    grid : CropGrid
    shape : (rows, columns)
        Of the original image.
    pixel_spacing_mm, centre_yx
        As given to `crop`.

    Returns
    -------
    values : float tensor [n, c, y, x]
        Interpolated at the original pixels inside the crop.
    window : (slice, slice)
        Rows and columns of the original image that `values` covers; empty where the crop lies
        outside the image.
    """
    axes, window = [], []
    for size, length, spacing, centre in zip(
        (grid.rows, grid.columns), shape, pixel_spacing_mm, centre_yx, strict=True
    ):
        reach = (size - 1) / 2 * grid.spacing_mm / spacing
        first = min(max(math.ceil(centre - reach), 0), length)
        last = max(min(math.floor(centre + reach), length - 1), first - 1)
        pixels = torch.arange(first, last + 1, device=cropped.device).float()
        axes.append((pixels - float(centre)) * float(spacing / grid.spacing_mm) + (size - 1) / 2)
        window.append(slice(first, last + 1))
    points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    values = _sample_at(cropped, points, "bilinear")
    return values, (window[0], window[1])


def normalise(images: Tensor) -> Tensor:
    """Scale each image robustly: clip to its 0.5 and 99.5 percentiles, then zero mean and unit SD.

    Parameters
    ----------
    images : float tensor [n, c, y, x]

    Returns
    -------
    float tensor [n, c, y, x]
        A constant image becomes zero.
    """
    clipped = clip_to_unit(images)
    flat = clipped.flatten(1)
    mean, deviation = flat.mean(1), flat.std(1)
    return (clipped - mean[:, None, None, None]) / (deviation + 1e-4)[:, None, None, None]


def clip_to_unit(images: Tensor) -> Tensor:
    """Map the 0.5 and 99.5 percentiles of each image [n, c, y, x] to 0 and 1, and clip there."""
    flat = images.flatten(1)
    tail = round(0.005 * (flat.shape[1] - 1)) + 1
    low = flat.topk(tail, dim=1, largest=False).values.amax(dim=1)[:, None, None, None]
    high = flat.topk(tail, dim=1).values.amin(dim=1)[:, None, None, None]
    scale = torch.where(high > low, high - low, torch.ones_like(high))
    return ((images - low) / scale).clamp(0, 1)
