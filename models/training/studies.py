"""The institution's own studies: ED and ES images with the volumes it reported, no contours.

`dicom-node prepare` writes them from DICOM studies and a CSV of volumes to `studies` below the
data folder, one array file each, named by part and a key that tells nothing of the patient. A
method that learns from volumes alone can be fitted on them, and any method measured.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.split import Part
from models.training.case_file import read_cases, write_cases
from models.training.cases import CaseError


@dataclass(frozen=True, slots=True)
class MeasuredStudy:
    """A study whose volumes are known.

    Attributes
    ----------
    images : uint8 [2, z, y, x]
        ED and ES, scaled together.
    pixel_spacing_mm : (row_mm, column_mm)
    slice_spacing_mm : float
    centre_yx : (float, float)
        Centre of the LV in pixels.
    volumes_ml : mapping of str to float
        As reported: `lv_edv_ml`, `lv_esv_ml`, and where the RV was reported `rv_edv_ml` and
        `rv_esv_ml`.
    name : str
        Part and key, as its file is called.
    """

    images: npt.NDArray[np.uint8]
    pixel_spacing_mm: tuple[float, float]
    slice_spacing_mm: float
    centre_yx: tuple[float, float]
    volumes_ml: Mapping[str, float]
    name: str = ""


def path_of(data: Path, part: Part, key: str) -> Path:
    """Where the study of a key lies."""
    return data / "studies" / f"{part}-{key}.npz"


def names(data: Path, part: Part) -> tuple[str, ...]:
    """Names of the studies of a part, sorted; none where there are none."""
    return tuple(sorted(path.stem for path in (data / "studies").glob(f"{part}-*.npz")))


def is_there(data: Path) -> bool:
    """Whether any study lies below the data folder."""
    return any((data / "studies").glob("*.npz"))


def write_study(path: Path, study: MeasuredStudy) -> None:
    """Write a study as an array file."""
    write_cases(path, [study])


def read_study(data: Path, name: str) -> MeasuredStudy:
    """Read back the study of a name.

    Raises
    ------
    CaseError
        Its file is damaged.
    """
    try:
        (study,) = read_cases(data / "studies" / f"{name}.npz", MeasuredStudy)
    except (OSError, KeyError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise CaseError(f"its file cannot be read: {error}") from error
    return replace(study, name=name)
