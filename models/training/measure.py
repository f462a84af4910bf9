"""What is measured of one patient: rows of figures, made through the code that serves."""

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from models.ed_es_detector import FrameReading
from models.predict import HeartLocaliser
from models.regressor import RegressedVolume
from models.training.cases import LabelledCine, LabelledVolume
from models.training.metrics import cyclic_frames, dice, ejection_fraction, hausdorff_mm
from models.training.scanner_change import CHANGES, scanner_change
from models.training.slices import HEART
from models.training.studies import MeasuredStudy
from models.training.sunnybrook import ASSUMED_SPACING_MM, LabelledImage

DENSITY_G_PER_ML = 1.055
RELEVANCE_THRESHOLD = 0.5
LARGE_EDV_ML = 250.0
_WALL, _SCAR, _NO_REFLOW = (2, 3, 4), (3, 4), (4,)  # as the challenge of EMIDEC joins its labels

Row = dict[str, Any]
UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]


class Service(Protocol):
    """The chain that measures a cine in the node, on plain arrays."""

    def labels(
        self, frames: Float32, pixel_spacing_mm: tuple[float, float], slice_spacing_mm: float
    ) -> UInt8:
        """Label frames [t, z, y, x]; all 0 where the chain rejects them."""
        ...

    def phases(
        self, frames: Float32, pixel_spacing_mm: tuple[float, float], slice_spacing_mm: float
    ) -> tuple[FrameReading, FrameReading]:
        """ED and ES of a cine [t, z, y, x].

        Raises
        ------
        CaseError
            The chain rejects the cine.
        """
        ...

    def regressed(
        self, frames: Float32, pixel_spacing_mm: tuple[float, float], slice_spacing_mm: float
    ) -> tuple[RegressedVolume, ...]:
        """LV of each of frames [t, z, y, x] by regression, laid into the whole stack.

        Raises
        ------
        CaseError
            The chain rejects the frames.
        """
        ...


def label_pair(service: Service, ed: LabelledVolume, es: LabelledVolume) -> tuple[UInt8, UInt8]:
    """Labels of the ED and of the ES volume of a patient, each uint8 [z, y, x]."""
    frames = np.stack([ed.images, es.images])
    found = service.labels(frames, ed.pixel_spacing_mm, ed.slice_spacing_mm)
    return found[0], found[1]


def row_of_volumes(
    dataset: str, ed: LabelledVolume, es: LabelledVolume, found: tuple[UInt8, UInt8]
) -> Row:
    """Dice, Hausdorff distances and volumes of a patient with every slice and class labelled."""
    spacing = (ed.slice_spacing_mm, *ed.pixel_spacing_mm)
    row: Row = {"dataset": dataset, "patient": ed.patient, "group": ed.group}
    row |= dice_of_pair(ed, es, found)
    volumes: dict[str, dict[str, tuple[float, float]]] = {}
    for volume, labels in zip((ed, es), found, strict=True):
        volumes[volume.phase] = {}
        for label, name in HEART.items():
            pair = labels == label, volume.labels == label
            row[f"hausdorff_{name}_{volume.phase}_mm"] = hausdorff_mm(*pair, spacing)
            volumes[volume.phase][name] = _millilitres(pair, spacing)
    for chamber in ("lv", "rv"):
        row |= volume_errors(chamber, volumes["ed"][chamber], volumes["es"][chamber])
    mass, true_mass = (DENSITY_G_PER_ML * value for value in volumes["ed"]["myo"])
    return row | {"lv_mass_true_g": true_mass, "lv_mass_error_g": mass - true_mass}


def _millilitres(
    masks: tuple[npt.NDArray[np.bool_], ...], spacing_mm: tuple[float, float, float]
) -> tuple[float, float]:
    found, truth = (float(mask.sum()) * float(np.prod(spacing_mm)) / 1000 for mask in masks)
    return found, truth


def dice_of_pair(
    ed: LabelledVolume, es: LabelledVolume, found: tuple[UInt8, UInt8]
) -> dict[str, float]:
    """Dice per class and phase; keys read ``dice_<class>_<phase>``."""
    return {
        f"dice_{name}_{volume.phase}": dice(labels == label, volume.labels == label)
        for volume, labels in zip((ed, es), found, strict=True)
        for label, name in HEART.items()
    }


def volume_errors(chamber: str, ed: tuple[float, float], es: tuple[float, float]) -> Row:
    """Errors (found minus true) of EDV, ESV in ml and EF in points, from (found, true) in ml."""
    ef, true_ef = (ejection_fraction(ed[index], es[index]) for index in (0, 1))
    return {
        f"{chamber}_edv_true_ml": ed[1],
        f"{chamber}_edv_error_ml": ed[0] - ed[1],
        f"{chamber}_esv_true_ml": es[1],
        f"{chamber}_esv_error_ml": es[0] - es[1],
        f"{chamber}_ef_true": true_ef,
        f"{chamber}_ef_error": ef - true_ef,
    }


def row_of_slices(service: Service, slices: Sequence[LabelledImage]) -> Row:
    """Dice and EF of a Sunnybrook patient: labelled slices alone, areas in pixels."""
    found = _labels_of_slices(service, slices)
    patient = slices[0].patient
    row: Row = {
        "dataset": "sunnybrook",
        "patient": patient,
        "group": patient.removeprefix("SC-").rsplit("-", 1)[0],
        "slices_found": float(np.mean([labels.any() for labels in found])),
    }
    areas = {}
    for phase in ("ed", "es"):
        chosen = [index for index, entry in enumerate(slices) if entry.phase == phase]
        cavity = np.stack([found[index] == 1 for index in chosen])
        truth = np.stack([slices[index].endo for index in chosen])
        row[f"dice_lv_{phase}"] = dice(cavity, truth)
        row[f"dice_lv_{phase}_contours_moved"] = dice(*_half_a_pixel_apart(cavity, truth))
        areas[phase] = (float(cavity.sum()), float(truth.sum()))
        row[f"lv_area_ratio_{phase}"] = areas[phase][0] / areas[phase][1]
    walls = [
        (labels == 2, entry.epi & ~entry.endo)
        for labels, entry in zip(found, slices, strict=True)
        if entry.epi is not None
    ]
    row["dice_myo_ed"] = dice(
        np.stack([wall for wall, _ in walls]), np.stack([w for _, w in walls])
    )
    ef, true_ef = (ejection_fraction(areas["ed"][index], areas["es"][index]) for index in (0, 1))
    return row | {"lv_ef_true": true_ef, "lv_ef_error": ef - true_ef}


def _half_a_pixel_apart(
    found: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Both masks [n, y, x] on half pixels, what was found moved down and right by one.

    The contours of the set lie so far off (`models.training.sunnybrook.LABEL_SHIFT_PX`).
    """
    fine, true = (mask.repeat(2, axis=1).repeat(2, axis=2) for mask in (found, truth))
    return np.roll(fine, (1, 1), axis=(1, 2)), true


def _labels_of_slices(service: Service, slices: Sequence[LabelledImage]) -> list[UInt8]:
    """Labels of each slice, found in the two-phase stack they form.

    A position labelled in one phase alone shows the same image in the other, as the node fills
    a missing image with its neighbour in time.
    """
    positions = sorted({entry.position for entry in slices})
    images: dict[tuple[int, int], UInt8] = {}
    for entry in slices:
        here = (int(entry.phase == "es"), positions.index(entry.position))
        images[here] = entry.image
        images.setdefault((1 - here[0], here[1]), entry.image)
    frames = np.stack(
        [np.stack([images[t, z] for z in range(len(positions))]) for t in (0, 1)]
    ).astype(np.float32)
    found = service.labels(frames, ASSUMED_SPACING_MM, 10.0)
    return [found[int(entry.phase == "es"), positions.index(entry.position)] for entry in slices]


def row_of_study(service: Service, study: MeasuredStudy) -> Row:
    """Errors of the volumes of a study that an institution reported."""
    frames = study.images.astype(np.float32)
    found = service.labels(frames, study.pixel_spacing_mm, study.slice_spacing_mm)
    voxel_ml = float(np.prod(study.pixel_spacing_mm)) * study.slice_spacing_mm / 1000
    row: Row = {"dataset": "studies", "patient": study.name, "group": ""}
    for chamber, label in (("lv", 1), ("rv", 3)):
        keys = f"{chamber}_edv_ml", f"{chamber}_esv_ml"
        if all(key in study.volumes_ml for key in keys):
            ed, es = (
                (float((labels == label).sum() * voxel_ml), study.volumes_ml[key])
                for labels, key in zip(found, keys, strict=True)
            )
            row |= volume_errors(chamber, ed, es)
    return row


def rows_of_changes(
    service: Service, dataset: str, ed: LabelledVolume, es: LabelledVolume
) -> Iterator[Row]:
    """Dice of the same heart under each simulated scanner change."""
    for name in CHANGES:
        changed = scanner_change(name, ed, es)
        found = label_pair(service, *changed)
        row: Row = {"dataset": dataset, "patient": ed.patient, "change": name}
        yield row | dice_of_pair(*changed, found)


def row_of_frames(
    service: Service, dataset: str, cine: LabelledCine, naive: Service | None = None
) -> Row:
    """Errors of ED and ES of a cine that starts anywhere in the cycle, in frames and cycles.

    Where it starts follows from the patient's name, so that each evaluation sees the same. With
    the chain that reads its detector naively: the errors of that too, and whether the central
    reading asks for review.
    """
    n_frames = len(cine.frames)
    shift = zlib.crc32(cine.patient.encode()) % n_frames
    frames = np.roll(cine.frames, shift, axis=0)
    found = service.phases(frames, cine.pixel_spacing_mm, cine.slice_spacing_mm)
    row: Row = {"dataset": dataset, "patient": cine.patient, "group": cine.group}
    truth = (("ed", cine.ed + shift), ("es", cine.es + shift))
    for reading, (name, true) in zip(found, truth, strict=True):
        distance = cyclic_frames(reading.frame, true, n_frames)
        row |= {f"{name}_error_frames": distance, f"{name}_error_of_cycle": distance / n_frames}
    if naive is not None:
        row["to_review"] = float(not all(reading.sure for reading in found))
        likeliest = naive.phases(frames, cine.pixel_spacing_mm, cine.slice_spacing_mm)
        for reading, (name, true) in zip(likeliest, truth, strict=True):
            row[f"{name}_error_frames_naive"] = cyclic_frames(reading.frame, true, n_frames)
    return row


def row_of_regression(
    service: Service, dataset: str, ed: LabelledVolume, es: LabelledVolume
) -> Row:
    """Volumes from volume alone, and the Dice of the mask that explains them, raw and dilated."""
    spacing, between = ed.pixel_spacing_mm, ed.slice_spacing_mm
    row: Row = {"dataset": dataset, "patient": ed.patient, "group": ed.group}
    pairs = []
    found_ed_es = service.regressed(np.stack([ed.images, es.images]), spacing, between)
    for volume, found in zip((ed, es), found_ed_es, strict=True):
        truth = volume.labels == 1
        found_ml = float(found.area_mm2.sum()) * between / 1000
        pairs.append((found_ml, float(truth.sum() * np.prod(spacing)) * between / 1000))
        row[f"dice_lv_{volume.phase}_raw"] = dice(found.explanation, truth)
        row[f"dice_lv_{volume.phase}_dilated"] = dice(found.dilated, truth)
    row |= volume_errors("lv", *pairs)
    if row["lv_edv_true_ml"] > LARGE_EDV_ML:
        row["lv_edv_error_above_250_ml"] = row["lv_edv_error_ml"]
    return row


def row_of_localiser(
    localiser: HeartLocaliser,
    dataset: str,
    *volumes: LabelledVolume,
    lv: tuple[int, ...] = (1, 2),
) -> Row:
    """Distance of the centre, and how slices with and without LV are told apart.

    `volumes` are ED and ES, or a late enhancement stack; `lv` are the labels of the LV.
    """
    first = volumes[0]
    images = np.concatenate([volume.images for volume in volumes])
    left = np.isin(np.concatenate([volume.labels for volume in volumes]), lv)
    found = localiser(images, first.pixel_spacing_mm)
    shows = left.any(axis=(1, 2))
    relevant = found.lv_probability >= RELEVANCE_THRESHOLD
    offset = np.array(found.centre_yx) - np.argwhere(left)[:, 1:].mean(axis=0)
    row: Row = {
        "dataset": dataset,
        "patient": first.patient,
        "group": first.group,
        "centre_error_mm": float(np.hypot(*(offset * first.pixel_spacing_mm))),
        "sensitivity": float(relevant[shows].mean()),
    }
    return row if shows.all() else row | {"specificity": float((~relevant[~shows]).mean())}


def row_of_scar(dataset: str, volume: LabelledVolume, found: UInt8) -> Row:
    """Dice and scar of a stack.

    Infarct and no-reflow count for their Dice where they truly are, and in `all_cases` everywhere:
    1 where they neither are nor are found, as the EMIDEC challenge averages.
    """
    truth = volume.labels
    row: Row = {"dataset": dataset, "patient": volume.patient, "group": volume.group}
    row["dice_lv"] = dice(found == 1, truth == 1)
    for name, codes in (("myo", _WALL), ("infarct", _SCAR), ("no_reflow", _NO_REFLOW)):
        true = np.isin(truth, codes)
        overlap = dice(np.isin(found, codes), true)
        if true.any():
            row[f"dice_{name}"] = overlap
        if name != "myo":
            row[f"dice_{name}_all_cases"] = overlap
    percent = scar_percent(truth)
    return row | {
        "scar_percent_true": percent,
        "scar_percent_error": scar_percent(found) - percent,
    }


def scar_percent(labels: UInt8) -> float:
    """Scar, no-reflow included, in percent of the myocardium; 0 without myocardium."""
    wall = int(np.isin(labels, _WALL).sum())
    return 100 * int(np.isin(labels, _SCAR).sum()) / wall if wall else 0.0
