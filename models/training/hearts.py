"""Hearts of known disease group, as a chain measured them: what the classifiers learn from.

The node's own chain measures them (`dicom-node study out-of-fold`), those to learn from by networks
that never saw them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.disease_groups import CLASSES, GROUPS
from models.heart_view import HeartView
from models.split import Part
from models.training.case_file import read_cases
from models.training.cases import CaseError
from models.training.tasks import NoDataError


@dataclass(frozen=True, slots=True)
class HeartCase:
    """A measured heart of a patient whose disease group is known.

    Attributes
    ----------
    dataset, patient : str
    label : int
        Index in `models.disease_groups.CLASSES`.
    features, images, pixel_spacing_mm, centre_yx
        As in `HeartView`.
    """

    dataset: str
    patient: str
    label: int
    features: dict[str, float]
    images: npt.NDArray[np.uint8]
    pixel_spacing_mm: tuple[float, float]
    centre_yx: tuple[float, float]

    @property
    def view(self) -> HeartView:
        """What a classifier sees of it."""
        return HeartView(self.features, self.images, self.pixel_spacing_mm, self.centre_yx)


def case_of_view(view: HeartView, dataset: str, patient: str, group: str) -> HeartCase:
    """A case of a heart, and of its group as ACDC writes it.

    Raises
    ------
    CaseError
        The set names no group, or one that is not known.
    """
    if group not in GROUPS:
        raise CaseError(f"its group '{group}' is not one of {', '.join(GROUPS)}")
    label = CLASSES.index(GROUPS[group])
    return HeartCase(
        dataset, patient, label, dict(view.features), view.images, view.pixel_spacing_mm,
        view.centre_yx,
    )  # fmt: skip


def path_of(prepared: Path, dataset: str, part: Part) -> Path:
    """Where the hearts of a part of a set lie."""
    return prepared / f"{dataset}-{part}-hearts.npz"


def read_hearts(
    data: Path,  # noqa: ARG001 - they are measured, not read
    prepared: Path,
    part: Part,
    sets: tuple[str, ...],
) -> tuple[HeartCase, ...]:
    """Hearts of one part, of the array files that `dicom-node study out-of-fold` wrote.

    Raises
    ------
    NoDataError
        It wrote none.
    """
    paths = [path_of(prepared, dataset, part) for dataset in sets]
    found = [path for path in paths if path.is_file()]
    if not found:
        raise NoDataError(
            f"no measured hearts in {prepared}: `dicom-node study out-of-fold` with the same "
            "output folder measures them"
        )
    return tuple(case for path in found for case in read_cases(path, HeartCase))


@dataclass(frozen=True, slots=True)
class HeartSlice:
    """One slice of a heart: its images uint8 [2, y, x] at ED and ES, else as `HeartCase`."""

    dataset: str
    patient: str
    label: int
    images: npt.NDArray[np.uint8]
    pixel_spacing_mm: tuple[float, float]
    centre_yx: tuple[float, float]


def slices_of(case: HeartCase) -> Iterator[HeartSlice]:
    """The slices of a heart."""
    for z in range(case.images.shape[1]):
        yield HeartSlice(
            case.dataset, case.patient, case.label, case.images[:, z], case.pixel_spacing_mm,
            case.centre_yx,
        )  # fmt: skip
