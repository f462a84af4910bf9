"""Biomarkers: volumes, ejection fractions, mass, output, and their indexed forms.

A quantity that cannot be computed is withheld with the reason, and with it all that derives from
it; no value is ever NaN, or 0 for want of one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    RV_CAVITY,
    SEGMENT_LABELS,
    Biomarker,
    CineCase,
    CineStack,
    Float64,
    ModelUse,
    ShortAxisStack,
    UInt8,
)
from pipeline.patient import RATES_AGREE, body_surface_area, heart_rate
from pipeline.stages.curve import PEAK_RATES, peak_rates

MYOCARDIAL_DENSITY_G_PER_ML = 1.055

# The biomarkers that a quality check takes back together, indexed forms included.
LV_STROKE = (
    *("lv_sv", "lv_ef", "cardiac_output"),
    *("lv_sv_index", "cardiac_output_index"),
    *PEAK_RATES,
)
RV_STROKE = ("rv_sv", "rv_ef", "rv_sv_index")
RV = ("rv_edv", "rv_esv", "rv_edv_index", "rv_esv_index", *RV_STROKE)
LV_MASS = ("lv_mass", "lv_mass_index")
LV = ("lv_edv", "lv_esv", "lv_edv_index", "lv_esv_index", *LV_STROKE, *LV_MASS)
# Mean thickness of the wall, and how much it thickens, per AHA segment.
ED_WALL, ES_WALL, THICKENING = (
    tuple(f"{quantity}_{segment}" for segment in range(1, 18))
    for quantity in ("ed_wall_thickness", "es_wall_thickness", "wall_thickening")
)
WALL = (*ED_WALL, *ES_WALL, *THICKENING)
FUNCTION = (*LV, *RV)
VOLUMETRIC = (*FUNCTION, *WALL)

_INDEXED_UNITS: Mapping[str, str] = {"ml": "ml/m2", "g": "g/m2", "l/min": "l/min/m2"}


class Quantify:
    """Volume curves of both ventricles, and every biomarker."""

    name = "biomarkers"
    models: tuple[ModelUse, ...] = ()

    def __call__(self, case: CineCase) -> CineCase:
        """Return the case with its volume curves and biomarkers; needs phases and label maps."""
        if case.phases is None or case.segmentation is None:
            raise ValueError("biomarkers come after detection and segmentation")
        labels, stack = case.segmentation.labels, case.stack
        lv, rv = (volume_curve_ml(labels, code, stack) for code in (LV_CAVITY, RV_CAVITY))
        myocardium = volume_curve_ml(labels, LV_MYOCARDIUM, stack)
        ed, es = case.phases.ed, case.phases.es
        regression = case.regression
        volumes = (lv[ed], lv[es]) if regression is None else (regression.edv_ml, regression.esv_ml)
        left = _ventricle("lv", LV_CAVITY, *map(float, volumes))
        right = _ventricle("rv", RV_CAVITY, float(rv[ed]), float(rv[es]))
        volume = _segmented("lv_mass", LV_MYOCARDIUM, float(myocardium[ed]), "end diastole")
        mass = _derived("lv_mass", "g", lambda ml: ml * MYOCARDIAL_DENSITY_G_PER_ML, volume)
        rate, area = _rate(stack), body_surface_area(stack.headers)
        output = _derived("cardiac_output", "l/min", lambda sv, bpm: sv * bpm / 1000, left[2], rate)
        measured = (*left, mass, *right, output)
        return replace(
            case,
            volume_curve_ml={"lv": lv, "rv": rv},
            biomarkers=(
                *measured,
                *peak_rates(lv, stack),
                rate,
                area,
                *_indexed(measured, area),
            ),
        )


def _rate(stack: CineStack) -> Biomarker:
    """Heart rate as stated, unless the images go on for longer than a beat of that rate lasts."""
    stated, last_ms = heart_rate(stack.headers), float(stack.trigger_times_ms.max())
    if stated.value is None or stack.times_are_estimates:
        return stated
    if last_ms <= RATES_AGREE * 60000 / stated.value:
        return stated
    reason = (
        f"the images go on to {last_ms:.0f} ms after the R wave, "
        f"longer than a beat lasts at the stated {stated.value:.0f} /min"
    )
    return replace(stated, value=None, withheld=reason)


def volume_curve_ml(labels: UInt8, code: int, stack: ShortAxisStack) -> Float64:
    """Volume of one structure in every phase, gaps between slices included.

    Parameters
    ----------
    labels : uint8 [t, z, y, x]
        Label maps.
    code : int
        Which structure.
    stack : ShortAxisStack
        Gives the pixel area and the length each slice stands for.

    Returns
    -------
    float64 [t]
        In ml.
    """
    row_mm, column_mm = stack.pixel_spacing_mm
    pixels = np.count_nonzero(labels == code, axis=(2, 3))
    return np.asarray(pixels @ stack.slice_extent_mm * (row_mm * column_mm / 1000), np.float64)


def _ventricle(
    side: str, code: int, edv_ml: float, esv_ml: float
) -> tuple[Biomarker, Biomarker, Biomarker, Biomarker]:
    """EDV, ESV, SV and EF of one ventricle."""
    edv = _segmented(f"{side}_edv", code, edv_ml, "end diastole")
    esv = _segmented(f"{side}_esv", code, esv_ml, "end systole")
    sv = _derived(f"{side}_sv", "ml", lambda large, small: large - small, edv, esv)
    ef = _derived(f"{side}_ef", "%", lambda stroke, large: 100 * stroke / large, sv, edv)
    return edv, esv, sv, ef


def _segmented(name: str, code: int, volume_ml: float, when: str) -> Biomarker:
    """A volume, or why there is none: an empty mask is a failure, not a volume of zero."""
    if volume_ml > 0:
        return Biomarker(name, volume_ml, "ml")
    return Biomarker(name, None, "ml", f"no {SEGMENT_LABELS[code]} was found at {when}")


def _derived(name: str, unit: str, formula: Callable[..., float], *inputs: Biomarker) -> Biomarker:
    """A quantity computed from others; withheld for the reason of the first that is."""
    for needed in inputs:
        if needed.withheld is not None:
            return Biomarker(name, None, unit, needed.withheld)
    return Biomarker(name, formula(*(needed.value for needed in inputs)), unit)


def _indexed(measured: Sequence[Biomarker], area: Biomarker) -> Iterator[Biomarker]:
    """Each quantity that grows with the body over body surface area; fractions have no index."""
    for quantity in measured:
        if quantity.unit in _INDEXED_UNITS:
            name, unit = f"{quantity.name}_index", _INDEXED_UNITS[quantity.unit]
            yield _derived(name, unit, lambda value, m2: value / m2, quantity, area)
