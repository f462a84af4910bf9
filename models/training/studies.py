"""The institution's own studies: ED and ES images with the volumes it reported, no contours.

`dicom-node prepare` writes them from DICOM studies and a CSV of volumes to `studies` below the
data folder, one array file each, named by part and a key that tells nothing of the patient. A
method that learns from volumes alone can be fitted on them, and any method measured.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.split import Part
from models.training.cases import CaseError

VOLUMES = ("lv_edv_ml", "lv_esv_ml", "rv_edv_ml", "rv_esv_ml")


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
    relevant : bool [z]
        Slices on which the LV was seen.
    volumes_ml : mapping of str to float
        As reported; keys from `VOLUMES`, the two of the LV always.
    """

    images: npt.NDArray[np.uint8]
    pixel_spacing_mm: tuple[float, float]
    slice_spacing_mm: float
    centre_yx: tuple[float, float]
    relevant: npt.NDArray[np.bool_]
    volumes_ml: Mapping[str, float]
    name: str = ""


def path_of(data: Path, part: Part, key: str) -> Path:
    """Where the study of a key lies."""
    return data / "studies" / f"{part}-{key}.npz"


def names(data: Path, part: Part) -> tuple[str, ...]:
    """Names of the studies of a part, sorted; none where there are none."""
    return tuple(sorted(path.stem for path in (data / "studies").glob(f"{part}-*.npz")))


def write_study(path: Path, study: MeasuredStudy) -> None:
    """Write a study as an array file (npz without pickle)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez_compressed(
        partial,
        images=study.images,
        spacing=np.array([study.slice_spacing_mm, *study.pixel_spacing_mm]),
        centre=np.array(study.centre_yx),
        relevant=study.relevant,
        volumes=np.array([study.volumes_ml.get(name, np.nan) for name in VOLUMES]),
    )
    partial.replace(path)


def read_study(data: Path, name: str) -> MeasuredStudy:
    """Read back the study of a name.

    Raises
    ------
    CaseError
        Its file is damaged.
    """
    try:
        with (data / "studies" / f"{name}.npz").open("rb") as stream:
            stored = np.load(stream, allow_pickle=False)
            slice_mm, row_mm, column_mm = (float(value) for value in stored["spacing"])
            reported = dict(zip(VOLUMES, stored["volumes"].tolist(), strict=True))
            return MeasuredStudy(
                images=stored["images"],
                pixel_spacing_mm=(row_mm, column_mm),
                slice_spacing_mm=slice_mm,
                centre_yx=(float(stored["centre"][0]), float(stored["centre"][1])),
                relevant=stored["relevant"],
                volumes_ml={key: value for key, value in reported.items() if not np.isnan(value)},
                name=name,
            )
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise CaseError(f"its file cannot be read: {error}") from error
