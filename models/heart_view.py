"""A measured heart as the classifiers of disease groups see it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class HeartView:
    """ED and ES of the heart of a patient.

    Attributes
    ----------
    features : mapping of str to float
        What was measured, by name.
    images : uint8 [2, z, y, x]
        ED and ES of the slices that show the LV in both, cut around the heart.
    pixel_spacing_mm : (row_mm, column_mm)
    centre_yx : (float, float)
        Middle of both ventricles at ED, in pixels of `images`.
    """

    features: Mapping[str, float]
    images: npt.NDArray[np.uint8]
    pixel_spacing_mm: tuple[float, float]
    centre_yx: tuple[float, float]
