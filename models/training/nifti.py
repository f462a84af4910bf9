"""NIfTI images as the cine sets keep them, axes turned to ours."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.training.cases import CaseError


@dataclass(frozen=True, slots=True)
class NiftiImage:
    """An image and its geometry.

    Attributes
    ----------
    values : array [z, y, x] or [t, z, y, x]
        As stored, scaled as the header says.
    pixel_spacing_mm : (row_mm, column_mm)
    slice_spacing_mm : float
    """

    values: npt.NDArray[np.generic]
    pixel_spacing_mm: tuple[float, float]
    slice_spacing_mm: float


def read_nifti(path: Path, axes: int) -> NiftiImage:
    """Read an image with the given number of axes (3: a volume, 4: a cine).

    Raises
    ------
    CaseError
        The file is missing, damaged, of another shape, or states no usable spacing.
    """
    from nibabel.filebasedimages import ImageFileError
    from nibabel.nifti1 import Nifti1Image
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    unreadable = (ImageFileError, HeaderDataError, WrapStructError, OSError, EOFError, ValueError)
    try:
        image = Nifti1Image.from_filename(path)
        values = np.ascontiguousarray(np.asarray(image.dataobj).T)
    except FileNotFoundError as error:
        raise CaseError(f"{path.name} is missing") from error
    except (*unreadable, zlib.error) as error:
        raise CaseError(f"{path.name} cannot be read: {error}") from error
    if values.ndim != axes or 0 in values.shape:
        raise CaseError(f"{path.name} has the shape {values.T.shape}; {axes} axes are needed")
    column_mm, row_mm, slice_mm = (float(value) for value in image.header["pixdim"][1:4])
    if not all(0.1 < length < 50 for length in (column_mm, row_mm, slice_mm)):
        raise CaseError(f"{path.name} states a spacing of {column_mm} x {row_mm} x {slice_mm} mm")
    return NiftiImage(values, (row_mm, column_mm), slice_mm)


def our_labels(image: NiftiImage, codes: tuple[int, ...], name: str) -> npt.NDArray[np.uint8]:
    """Labels of a set in our codes.

    Parameters
    ----------
    image : NiftiImage
    codes : tuple of int
        Ours (0 background, 1 LV cavity, 2 LV myocardium, 3 RV cavity) by the code of the set.
    name : str
        Of the file, for the error.

    Raises
    ------
    CaseError
        A value is none of the set's codes.
    """
    rounded = np.rint(image.values.astype(np.float64))
    if rounded.min() < 0 or rounded.max() >= len(codes):
        raise CaseError(
            f"{name} has labels from {rounded.min():g} to {rounded.max():g}; "
            f"0 to {len(codes) - 1} are known"
        )
    return np.array(codes, dtype=np.uint8)[rounded.astype(np.intp)]
