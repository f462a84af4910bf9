"""Adapter of EMIDEC (Lalande et al. 2020, doi:10.3390/data5040089): LGE short-axis stacks.

Labels: 0 background, 1 LV cavity, 2 normal myocardium, 3 infarct, 4 no-reflow; the RV has none.
Cases are named `Case_N...` (no infarct) and `Case_P...`. Every slice shows the LV.

Read from `emidec`, `EMIDEC`, `emidec-dataset-1.0.1` or the data folder itself, as published
(`Case_P001/Images/Case_P001.nii.gz`, with `Contours` beside `Images`) or as PNG
(`images/Case_P001_slice000.png`, with `labels` beside `images`). The PNG at hand lie mirrored about
a diagonal; they are turned back, so that the RV is to the left of the LV as in ACDC. They tell no
spacing and are stretched along one axis, by up to two, each case otherwise: the spacing is set so
that the LV is as high as wide, as it is in ACDC to within a tenth, and 1.4 mm in the geometric
mean, at which these hearts are as large as those of ACDC.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from models.training.cases import CaseError, LabelledVolume
from models.training.nifti import our_labels, read_nifti
from models.training.png import read_png
from models.training.slices import LabelledSlice, UInt8, allowed_bits, slices_of_volume

ASSUMED_SPACING_MM = 1.4
ASSUMED_SLICE_SPACING_MM = 10.0
# One exam that the set holds twice, outlined anew: myocardium agrees by a Dice of 0.87, infarct
# 0.80, no-reflow 0.57. Both are in one part of the split.
SAME_EXAM = {"Case_P072": "Case_P059"}
CLASSES = {1: "lv", 2: "normal_myo", 3: "infarct", 4: "no_reflow"}
LV = (1, 2, 3, 4)  # labels in it
_ROOTS = ("emidec", "EMIDEC", "emidec-dataset-1.0.1", ".")


def is_there(data: Path) -> bool:
    """Whether cases of EMIDEC lie below a data folder."""
    places = ("images/Case_*_slice*.png", "Case_*/Images/*.nii.gz")
    return any(
        next((data / root).glob(place), None) is not None for root in _ROOTS for place in places
    )


def read_case(data: Path, patient: str) -> LabelledVolume:
    """Read a case, its slices from base to apex, its labels as the set codes them.

    The phase is "lge", the group "infarct" or "no infarct", as the labels have it.

    Raises
    ------
    CaseError
        The case is not there or cannot be used.
    """
    for root in _ROOTS:
        if (data / root / patient / "Images").is_dir():
            found = _of_nifti(data / root / patient)
            break
        paths = sorted((data / root / "images").glob(f"{patient}_slice*.png"))
        if paths:
            found = _of_pictures(patient, paths)
            break
    else:
        raise CaseError("it is not there")
    if found.labels.shape != found.images.shape:
        raise CaseError("image and labels differ in shape")
    if not found.labels.any():
        raise CaseError("no pixel is labelled")
    group = "infarct" if (found.labels >= 3).any() else "no infarct"
    return replace(  # the set begins at the apex
        found, images=found.images[::-1], labels=found.labels[::-1], group=group
    )


def _of_nifti(folder: Path) -> LabelledVolume:
    name = f"{folder.name}.nii.gz"
    image = read_nifti(folder / "Images" / name, 3)
    truth = read_nifti(folder / "Contours" / name, 3)
    values = image.values.astype(np.float32)
    return LabelledVolume(
        images=values - min(float(values.min()), 0.0),
        labels=our_labels(truth, (0, *LV), f"Contours/{name}"),
        pixel_spacing_mm=image.pixel_spacing_mm,
        slice_spacing_mm=image.slice_spacing_mm,
        patient=folder.name,
        phase="lge",
    )


def _of_pictures(patient: str, paths: list[Path]) -> LabelledVolume:
    images = [_turned(read_png(path)) for path in paths]
    labels = [_turned(read_png(path.parents[1] / "labels" / path.name)) for path in paths]
    if len({image.shape for image in (*images, *labels)}) > 1:
        raise CaseError("its slices and labels differ in shape")
    if max(int(label.max()) for label in labels) > max(LV):
        raise CaseError(f"it has labels above {max(LV)}")
    return LabelledVolume(
        images=np.stack(images).astype(np.float32),
        labels=np.stack(labels),
        pixel_spacing_mm=_spacing_of_round_heart(np.stack(labels) > 0),
        slice_spacing_mm=ASSUMED_SLICE_SPACING_MM,
        patient=patient,
        phase="lge",
        spacing_is_known=False,
    )


def _turned(image: UInt8) -> UInt8:
    """Mirrored about the diagonal from lower left to upper right."""
    return image[::-1, ::-1].T


def _spacing_of_round_heart(lv: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Pixel spacing at which LV [z, y, x] is as high as wide: the median of its larger slices."""
    areas = lv.sum(axis=(1, 2))
    large = lv[(areas > 0) & (2 * areas >= areas.max())]
    spreads = [np.argwhere(mask).std(axis=0).clip(min=0.5) for mask in large]
    if not spreads:
        return ASSUMED_SPACING_MM, ASSUMED_SPACING_MM
    stretch = float(np.sqrt(np.median([rows / columns for rows, columns in spreads])))
    return ASSUMED_SPACING_MM / stretch, ASSUMED_SPACING_MM * stretch


def emidec_slices(data: Path, names: tuple[str, ...]) -> Iterator[LabelledSlice]:
    """Every slice of the cases; the bits of `allowed` are those of `CLASSES`."""
    for patient in names:
        yield from slices_of_volume(read_case(data, patient), "emidec", lv=LV)


def is_lge(entry: LabelledSlice) -> bool:
    """Whether a slice was acquired as LGE."""
    return entry.phase == "lge"


def as_hearts(slices: Iterable[LabelledSlice]) -> tuple[LabelledSlice, ...]:
    """The slices in the classes of the cine sets; of LGE the RV may be wherever the LV is not."""
    classes = (allowed_bits(0, 3), *(allowed_bits(label) for label in (1, 2, 2, 2)))
    codes = np.zeros(256, dtype=np.uint8)
    codes[[allowed_bits(label) for label in range(len(classes))]] = classes
    return tuple(
        replace(entry, allowed=codes[entry.allowed]) if is_lge(entry) else entry for entry in slices
    )
