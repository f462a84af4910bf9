"""What the classifiers of disease groups look at in a measured cine.

One code makes it for training and for service. Sizes enter by their logarithm, because patients
differ by factors; what compares them needs no height and no weight of the patient.
"""

import math
from collections.abc import Mapping

import numpy as np

from models.heart_view import HeartView
from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    RV_CAVITY,
    CineCase,
    Float32,
    Float64,
    Mask,
    UInt8,
)
from pipeline.stages.biomarkers import MYOCARDIAL_DENSITY_G_PER_ML, volume_curve_ml
from pipeline.stages.checked import phases_of
from pipeline.wall import wall_chords

_LV = (LV_CAVITY, LV_MYOCARDIUM)
_SECTORS = 12
_MIN_CLOSED = 0.9  # of the chords of a slice
_MARGIN_MM = 110.0  # of the images around the heart: what a turned crop may reach


class NoViewError(ValueError):
    """The case does not show what a classifier looks at; the message says what is missing."""


def disease_features(case: CineCase) -> Mapping[str, float]:
    """Numbers of both ventricles and of the wall at ED and ES, by name.

    `log_lv_edv`, `log_rv_edv`, `log_lv_mass`: logarithms of ml and g. `lv_ef`, `rv_ef`: in
    percent. `log_rv_lv_ed`, `log_rv_lv_es`, `log_mass_volume_ed`, `log_mass_volume_es`: of the RV
    over the LV cavity, of the myocardium over the LV cavity. `wall_*`, in mm: thickness by the
    centreline method over sectors of 30 degrees of every slice whose wall is closed at ED and ES;
    mean, 95th percentile and SD at ED and ES; mean, 10th percentile and SD of the thickening.
    `thickening_share`: mean thickening over the thickness at ED. `still_share`: share of the
    sectors that thicken by less than 1 mm.

    Raises
    ------
    NoViewError
        A ventricle or the wall was not found at ED or at ES.
    """
    ed, es = case.outlines
    volumes = {
        code: volume_curve_ml(case.outlines, code, case.stack)
        for code in (LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY)
    }
    if any(found.min() <= 0 for found in volumes.values()):
        raise NoViewError("a ventricle or the wall was not found at ED or at ES")
    lv, wall, rv = (volumes[code] for code in (LV_CAVITY, LV_MYOCARDIUM, RV_CAVITY))
    return {
        "log_lv_edv": math.log(lv[0]),
        "log_rv_edv": math.log(rv[0]),
        "log_lv_mass": math.log(MYOCARDIAL_DENSITY_G_PER_ML * wall[0]),
        "lv_ef": 100 * float(1 - lv[1] / lv[0]),
        "rv_ef": 100 * float(1 - rv[1] / rv[0]),
        "log_rv_lv_ed": math.log(rv[0] / lv[0]),
        "log_rv_lv_es": math.log(rv[1] / lv[1]),
        "log_mass_volume_ed": math.log(wall[0] / lv[0]),
        "log_mass_volume_es": math.log(wall[1] / lv[1]),
        **_wall_features(ed, es, case.stack.pixel_spacing_mm),
    }


def _wall_features(
    ed: UInt8, es: UInt8, pixel_spacing_mm: tuple[float, float]
) -> Mapping[str, float]:
    """Thickness and thickening over the sectors of label maps [z, y, x]."""
    pairs = []
    for z in range(len(ed)):
        found = [
            _sectors(labels[z] == LV_CAVITY, labels[z] == LV_MYOCARDIUM, pixel_spacing_mm)
            for labels in (ed, es)
        ]
        pairs += [found] if all(len(sectors) for sectors in found) else []
    if not pairs:
        raise NoViewError("no slice shows a closed wall at ED and at ES")
    at_ed, at_es = (np.concatenate(sectors) for sectors in zip(*pairs, strict=True))
    thicker = at_es - at_ed
    return {
        "wall_ed_mean": float(at_ed.mean()),
        "wall_ed_high": float(np.percentile(at_ed, 95)),
        "wall_ed_sd": float(at_ed.std()),
        "wall_es_mean": float(at_es.mean()),
        "wall_es_high": float(np.percentile(at_es, 95)),
        "wall_es_sd": float(at_es.std()),
        "thickening_mean": float(thicker.mean()),
        "thickening_low": float(np.percentile(thicker, 10)),
        "thickening_sd": float(thicker.std()),
        "thickening_share": float(thicker.mean() / at_ed.mean()),
        "still_share": float((thicker < 1.0).mean()),
    }


def _sectors(cavity: Mask, wall: Mask, pixel_spacing_mm: tuple[float, float]) -> Float64:
    """Mean thickness [12] of the wall of a slice in sectors; empty where it is open."""
    chords = wall_chords(cavity, wall, pixel_spacing_mm)
    if chords is None or chords.closed.mean() < _MIN_CLOSED:
        return np.zeros(0)
    sector = np.floor((chords.angle + np.pi) / (2 * np.pi) * _SECTORS).astype(int) % _SECTORS
    places = [chords.thickness_mm[chords.closed & (sector == one)] for one in range(_SECTORS)]
    if not all(len(place) for place in places):
        return np.zeros(0)
    return np.array([place.mean() for place in places])


def heart_view(case: CineCase) -> HeartView:
    """What the classifiers see of a measured cine.

    Images are cut around both ventricles and scaled to 8 bits together, which contrast survives:
    networks scale each by itself.

    Raises
    ------
    NoViewError
        A ventricle or the wall was not found at ED or at ES, or no slice shows the LV in both.
    """
    ed, es = case.outlines
    shown = [z for z in range(len(ed)) if all(np.isin(one[z], _LV).any() for one in (ed, es))]
    heart = np.argwhere((ed > 0).any(axis=0))
    if not (shown and len(heart)):
        raise NoViewError("no slice shows the left ventricle at ED and at ES")
    centre = (heart.min(axis=0) + heart.max(axis=0)) / 2
    row, column = (
        _around(float(place), size, _MARGIN_MM / spacing)
        for place, size, spacing in zip(
            centre, ed.shape[1:], case.stack.pixel_spacing_mm, strict=True
        )
    )
    phases = phases_of(case)
    images = case.stack.frames[[phases.ed, phases.es]][:, shown][:, :, row, column]
    return HeartView(
        features=disease_features(case),
        images=_eight_bits(images),
        pixel_spacing_mm=case.stack.pixel_spacing_mm,
        centre_yx=(float(centre[0]) - row.start, float(centre[1]) - column.start),
    )


def _around(place: float, size: int, reach: float) -> slice:
    """Indices of an axis of `size` within `reach` of a place."""
    return slice(max(math.floor(place - reach), 0), min(math.ceil(place + reach) + 1, size))


def _eight_bits(images: Float32) -> UInt8:
    """Images from their least value to all but the brightest thousandth."""
    low, high = float(images.min()), float(np.percentile(images, 99.9))
    scaled = (images - low) * (255 / max(high - low, 1e-6))
    return np.asarray(np.clip(scaled, 0, 255), dtype=np.uint8)
