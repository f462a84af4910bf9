"""Write a synthetic cine heart as a DICOM study, with its truth beside it.

Every object says that it is synthetic: patient `SYNTHETIC^HEART`, manufacturer, series
description and image comments. The same seed and options give the same files, byte for byte.
"""

import json
import math
import statistics
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Unpack

import numpy as np
from pydicom import Dataset

from config.version import SOFTWARE_VERSION
from dicom_node.phantom_instances import classic_instance, enhanced_instance
from dicom_node.phantom_stack import (
    SHORT_AXIS,
    Orientation,
    PlacedCine,
    StackGeometry,
    StudyForm,
    UInt8,
    place,
)
from models.synthetic.cine import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    RV_CAVITY,
    SyntheticCine,
    synthesise_cine,
)

TRUTH_NAME = "truth.json"
LABELS_NAME = "truth_labels.npz"


class Geometry(StackGeometry, total=False):
    """What `synthesise_cine` takes besides the seed."""

    phases: int
    heart_offset_mm: tuple[float, float]
    ed_phase: int
    breath_shift_mm: float


def write_cine_study(
    folder: Path,
    seed: int,
    *,
    enhanced: bool = False,
    series_per_slice: bool = False,
    orientation: Orientation = SHORT_AXIS,
    mirrored: bool = False,
    apex_first: bool = False,
    rr_jitter: float = 0.0,
    header: Mapping[str, object] | None = None,
    **geometry: Unpack[Geometry],
) -> Path:
    """Draw the heart of a seed and write it as a study.

    Parameters
    ----------
    folder : Path
        Made if absent; a synthetic study that lies there is replaced.
    seed : int
    enhanced, series_per_slice, orientation, mirrored, apex_first, rr_jitter, header
        See `StudyForm`.
    **geometry
        Passed to `models.synthetic.cine.synthesise_cine`: slices, phases, spacings and so on.

    Returns
    -------
    Path
        The truth (JSON), see `write_study`.

    Raises
    ------
    ValueError
        When the geometry holds no heart, see `synthesise_cine`.
    """
    form = StudyForm(
        enhanced=enhanced,
        series_per_slice=series_per_slice,
        orientation=orientation,
        mirrored=mirrored,
        apex_first=apex_first,
        rr_jitter=rr_jitter,
        header=header or {},
    )
    return write_study(folder, synthesise_cine(seed, **geometry), seed, form)


def write_study(
    folder: Path, cine: SyntheticCine, seed: int, form: StudyForm | None = None
) -> Path:
    """Write any synthetic cine as a study: `synthetic-NNNNN.dcm`, labels and truth.

    `truth_labels.npz` holds `labels`, uint8 [t, z, y, x], in the order in which a stack is
    assembled: slices along the normal of the written orientation, phases by trigger time, on the
    pixels as written. `truth.json` indexes slices and phases alike.

    Parameters
    ----------
    folder : Path
    cine : SyntheticCine
    seed : int
        Names the patient (`SYNTHETIC-<seed>`).
    form : StudyForm, optional
        Default: classic MR, one series.

    Returns
    -------
    Path
        The truth (JSON).
    """
    placed = place(cine, seed, form or StudyForm())
    return save_study(folder, _instances(placed), placed.labels, _truth(placed))


def save_study(
    folder: Path, instances: Iterable[Dataset], labels: UInt8 | None, truth: Mapping[str, object]
) -> Path:
    """Save instances as `synthetic-NNNNN.dcm`, any labels and truth beside them; give the truth."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("synthetic-*.dcm"):
        stale.unlink()
    for number, dataset in enumerate(instances, start=1):
        dataset.save_as(folder / f"synthetic-{number:05d}.dcm", enforce_file_format=True)
    if labels is not None:
        np.savez_compressed(folder / LABELS_NAME, labels=labels)
    path = folder / TRUTH_NAME
    path.write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    return path


def _instances(placed: PlacedCine) -> Iterator[Dataset]:
    """Data sets in the order of acquisition."""
    if placed.form.enhanced:
        yield from (enhanced_instance(placed, positions) for positions in placed.enhanced_groups)
    else:
        for position in placed.acquisition_order:
            yield from (classic_instance(placed, phase, position) for phase in range(placed.phases))


def _truth(placed: PlacedCine) -> dict[str, object]:
    cine = placed.cine
    ml = {
        name: (np.count_nonzero(placed.labels == label, axis=(1, 2, 3)) * cine.voxel_ml).tolist()
        for name, label in (("lv", LV_CAVITY), ("rv", RV_CAVITY), ("myocardium", LV_MYOCARDIUM))
    }
    return placed_truth(placed) | {
        "ed": cine.ed,
        "es": cine.es,
        "trigger_times_ms": np.median(placed.trigger_times_ms, axis=1).tolist(),
        "volume_curve_ml": ml,
        "biomarkers": _biomarkers(placed),
        "analytic": {
            name.removesuffix("_analytic"): value
            for name, value in cine.truth.items()
            if name.endswith("_analytic")
        },
        "slices": [_slice_truth(placed, position) for position in range(placed.slices)],
    }


def placed_truth(placed: PlacedCine) -> dict[str, object]:
    """What is true of every synthetic study: who, and where it lies."""
    cine = placed.cine
    return {
        "synthetic": True,
        "software_version": SOFTWARE_VERSION,
        "seed": placed.seed,
        "study_instance_uid": placed.form.header.get("StudyInstanceUID", placed.uid("study")),
        "labels": LABELS_NAME,
        "pixel_spacing_mm": list(cine.pixel_spacing_mm),
        "slice_spacing_mm": cine.slice_spacing_mm,
        "slice_thickness_mm": cine.slice_thickness_mm,
        "image_orientation_patient": list(placed.orientation),
        "heart_centre_yx": [float(axis.mean()) for axis in np.nonzero(placed.labels)[2:]],
    }


def _biomarkers(placed: PlacedCine) -> dict[str, float]:
    """The numbers that a node should find, by the names of its findings."""
    cine = placed.cine
    values = {name: value for name, value in cine.truth.items() if not name.endswith("_analytic")}
    values["heart_rate"] = float(statistics.median(round(60_000 / rr) for rr in placed.rr_ms))
    values["cardiac_output"] = values["lv_sv"] * values["heart_rate"] / 1000
    values["bsa"] = math.sqrt(100 * cine.height_m * cine.weight_kg / 3600)
    indexed = (
        "lv_edv", "lv_esv", "lv_sv", "lv_mass", "rv_edv", "rv_esv", "rv_sv", "cardiac_output",
    )  # fmt: skip
    return values | {f"{name}_index": values[name] / values["bsa"] for name in indexed}


def _slice_truth(placed: PlacedCine, position: int) -> dict[str, object]:
    lv = np.isin(placed.labels[:, position], (LV_CAVITY, LV_MYOCARDIUM))
    shows_lv = [bool(phase.any()) for phase in lv]
    uids = [placed.instance_uid(phase, position) for phase in range(placed.phases)]
    return {
        "position_mm": placed.positions_mm[position].tolist(),
        "sop_instance_uids": list(dict.fromkeys(uids)),
        "lv_present": any(shows_lv),
        "lv_present_at_ed": shows_lv[placed.cine.ed],
        "lv_present_at_es": shows_lv[placed.cine.es],
    }
