"""Adapter of the Sunnybrook Cardiac Data (Radau et al. 2009): labelled slices as PNG.

ED slices carry endocardium and epicardium, ES slices the endocardium alone; the RV has no label
and the pixel spacing is not given (1.37 mm in the patients whose DICOM is known). The contours
lie about half a pixel too far down and to the right in every patient, as if they counted from the
corner of a pixel and not from its centre; those of one patient lie eleven pixels off.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.training.cases import CaseError
from models.training.png import read_png
from models.training.slices import LabelledSlice, UInt8, allowed_bits

ASSUMED_SPACING_MM = (1.37, 1.37)
LABEL_SHIFT_PX = 0.5
MISPLACED = frozenset({"SC-N-06"})  # contours far from the ventricle: nothing to learn from
_PHASES = 20  # of every patient; InstanceNumber counts phases first, then slices
_NAME = re.compile(r"(?P<patient>.+)-IM-\d+-(?P<instance>\d+)\.png")


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One labelled slice.

    Attributes
    ----------
    image : uint8 [y, x]
    endo : bool [y, x]
        Inside the endocardium: the LV cavity.
    epi : bool [y, x] or None
        Inside the epicardium: cavity and myocardium; None where it is not labelled.
    position : int
        Index of the slice in its stack.
    patient, phase : str
        Phase is "ed" where the epicardium is labelled in the patient's phase, else "es".
    """

    image: UInt8
    endo: np.ndarray[tuple[int, int], np.dtype[np.bool_]]
    epi: np.ndarray[tuple[int, int], np.dtype[np.bool_]] | None
    position: int
    patient: str
    phase: str


def read_patient(data: Path, patient: str) -> tuple[LabelledImage, ...]:
    """Labelled slices of a patient below the data folder, in order of their instance numbers.

    Raises
    ------
    CaseError
        A file of it is missing or damaged, or ED or ES has no labelled slice.
    """
    root = data / "sunnybrook" / "labelled_slices"
    found = []
    for path in sorted((root / "images").glob(f"{patient}-IM-*.png")):
        match = _NAME.fullmatch(path.name)
        if match is None or match["patient"] != patient:
            continue
        epi = root / "epi" / path.name
        found.append((path.name, int(match["instance"]), epi if epi.is_file() else None))
    ed_phases = {(instance - 1) % _PHASES for _, instance, epi in found if epi}
    images = tuple(
        LabelledImage(
            image=read_png(root / "images" / name),
            endo=read_png(root / "endo" / name) > 0,
            epi=None if epi is None else read_png(epi) > 0,
            position=(instance - 1) // _PHASES,
            patient=patient,
            phase="ed" if (instance - 1) % _PHASES in ed_phases else "es",
        )
        for name, instance, epi in found
    )
    if {image.phase for image in images} != {"ed", "es"}:
        raise CaseError("labelled slices of both ED and ES are needed")
    return images


def allowed_classes(image: LabelledImage) -> UInt8:
    """What each pixel may be; [y, x] bits as in `LabelledSlice.allowed`."""
    if image.epi is None:
        allowed = np.full(image.image.shape, allowed_bits(0, 2, 3), dtype=np.uint8)
    else:
        allowed = np.full(image.image.shape, allowed_bits(0, 3), dtype=np.uint8)
        allowed[image.epi] = allowed_bits(2)
    allowed[image.endo] = allowed_bits(1)
    return allowed


def sunnybrook_slices(data: Path, names: tuple[str, ...]) -> Iterator[LabelledSlice]:
    """Labelled slices of the patients whose contours lie where the LV is; all show the LV."""
    for patient in names:
        if patient in MISPLACED:
            continue
        images = read_patient(data, patient)
        points = np.concatenate([np.argwhere(image.endo) for image in images])
        centre_y, centre_x = points.mean(axis=0)
        for image in images:
            yield LabelledSlice(
                image=image.image,
                allowed=allowed_classes(image),
                pixel_spacing_mm=ASSUMED_SPACING_MM,
                centre_yx=(float(centre_y), float(centre_x)),
                dataset="sunnybrook",
                patient=patient,
                phase=image.phase,
                spacing_is_known=False,
                position=image.position,
                label_shift_px=LABEL_SHIFT_PX,
            )
