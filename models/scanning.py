"""Scanning module: from a map of the LV to areas, volume and roundness, without parameters.

A fixed part of the regression U-net (`models.regression_unet`): the volume that the map holds and
how round it is are compared with the truth, so that the map becomes the LV although no contour
was ever shown. Every step can be differentiated.

- Area of a slice: the sum in a box, at the place where it is largest. The box must hold the LV; a
  box of 50 mm clips dilated hearts.
- Diameter of a slice: the longest row sum and the longest column sum, averaged.
- pi-hat: 4 area / diameter^2, which is pi for a disc.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 - its own usual name
from torch import Tensor
from torch.nn import functional

DEFAULT_BOX_MM = 82.0
EXPLANATION_THRESHOLD = 0.9


@dataclass(frozen=True, slots=True)
class Scan:
    """What a map holds, slice by slice.

    Attributes
    ----------
    area_mm2 : float tensor [n, z]
    diameter_mm : float tensor [n, z]
    pi_hat : float tensor [n, z]
        Means little where the area is small.
    """

    area_mm2: Tensor
    diameter_mm: Tensor
    pi_hat: Tensor


def box_pixels(box_mm: float, spacing_mm: float) -> int:
    """Odd number of pixels that spans at least `box_mm`."""
    pixels = -(-box_mm // spacing_mm)
    return int(pixels) // 2 * 2 + 1


def scan(cam: Tensor, spacing_mm: float, box_mm: float = DEFAULT_BOX_MM) -> Scan:
    """Scan the maps of a batch.

    Parameters
    ----------
    cam : float tensor [n, z, y, x]
        0 to 1.
    spacing_mm : float
        Of the square pixels.
    box_mm : float
        Side of the box; the default is 41 pixels of 2 mm.
    """
    area = _largest_box_sum(cam, box_pixels(box_mm, spacing_mm)) * spacing_mm**2
    longest = cam.sum(dim=-1).amax(dim=-1) + cam.sum(dim=-2).amax(dim=-1)
    diameter = longest / 2 * spacing_mm
    return Scan(area, diameter, 4 * area / diameter.square().clamp(min=1e-6))


def _largest_box_sum(cam: Tensor, box: int) -> Tensor:
    """Largest sum in a box of `box` pixels square, per slice; [n, z] of [n, z, y, x]."""
    half = box // 2
    columns = functional.avg_pool2d(cam, (1, box), stride=1, padding=(0, half)) * box
    sums = functional.avg_pool2d(columns, (box, 1), stride=1, padding=(half, 0)) * box
    return sums.amax(dim=(-2, -1))


def volume_ml(found: Scan, slice_spacing_mm: Tensor) -> Tensor:
    """Volume in ml per sample [n], for a distance of the slices [n] in mm."""
    return found.area_mm2.sum(dim=1) * slice_spacing_mm / 1000


def explanation_mask(
    cam: npt.NDArray[np.float32],
    *,
    threshold: float = EXPLANATION_THRESHOLD,
    dilate: bool = False,
) -> npt.NDArray[np.bool_]:
    """Mask that explains a volume: the largest object of a map at a threshold.

    Parameters
    ----------
    cam : float32 [z, y, x]
    threshold : float
        Lowest value inside.
    dilate : bool
        Grow each slice by two pixels (5x5). The loss shrinks the map a little, the dilation makes
        up for it; it is reported beside the plain mask, never in its place.

    Returns
    -------
    bool [z, y, x]
        Empty where the map stays below the threshold. Voxels that touch by a corner are one
        object.
    """
    inside = sitk.GetImageFromArray((cam >= threshold).astype(np.uint8))
    objects = sitk.RelabelComponent(sitk.ConnectedComponent(inside, True))  # type: ignore[no-untyped-call]
    largest = objects == 1
    if dilate:
        largest = sitk.BinaryDilate(largest, (2, 2, 0), sitk.sitkBox)  # type: ignore[no-untyped-call]
    return np.asarray(sitk.GetArrayFromImage(largest), dtype=np.bool_)
