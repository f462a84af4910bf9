"""Numbers of a late enhancement study: scar by each method, no-reflow, LV mass."""

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.case import LV_MYOCARDIUM, NO_REFLOW, Biomarker, Mask, ModelUse
from pipeline.lge_case import LgeCase, LgeStack, Scar
from pipeline.scar import scar_mass_g

if TYPE_CHECKING:
    from models.registry import Card

SCAR_METHODS = ("network", "2sd", "5sd", "fwhm")
SCAR = tuple(f"scar_{what}_{method}" for what in ("mass", "percent") for method in SCAR_METHODS)
# What a doubt of the outlines takes back together.
OUTLINED = ("lge_lv_mass", *SCAR, "no_reflow_mass", "infarct_probability")
_UNITS = {"percent": "%", "probability": "1"}


class QuantifyScar:
    """Every biomarker but transmurality; `card` describes the network that drew the scar."""

    name = "biomarkers"
    models: tuple[ModelUse, ...] = ()

    def __init__(self, card: "Card") -> None:
        self._card = card

    def __call__(self, case: LgeCase) -> LgeCase:
        """Return the case with its biomarkers; needs label map and scars."""
        if case.segmentation is None:
            raise ValueError("biomarkers come after segmentation")
        (wall,), stack = case.outlines == LV_MYOCARDIUM, case.stack
        lv_g = mass_g(wall, stack)
        if lv_g <= 0:
            reason = "no LV myocardium was found"
            nothing = (Biomarker(name, None, _unit(name), reason) for name in OUTLINED)
            return replace(case, biomarkers=tuple(nothing))
        masses = [_mass(name, case.scars[name], stack) for name in SCAR_METHODS]
        shares = [_share(one, lv_g) for one in masses]
        no_reflow = mass_g(case.segmentation.labels[0] == NO_REFLOW, stack)
        return replace(
            case,
            biomarkers=(
                Biomarker("lge_lv_mass", lv_g, "g"),
                *masses,
                *shares,
                Biomarker("no_reflow_mass", no_reflow, "g"),
                self._infarct_probability(shares[0]),
            ),
        )

    def _infarct_probability(self, share: Biomarker) -> Biomarker:
        """Logistic function of the scar fraction, as calibrated on the card of the network."""
        name, calibration = "infarct_probability", self._card.calibration
        if share.value is None or not {"infarct_slope", "infarct_intercept"} <= calibration.keys():
            reason = share.withheld or f"the network {self._card.name} is not calibrated for it"
            return Biomarker(name, None, "1", reason)
        log_odds = calibration["infarct_intercept"] + calibration["infarct_slope"] * share.value
        return Biomarker(name, 1 / (1 + math.exp(-log_odds)), "1")


def mass_g(mask: Mask, stack: LgeStack) -> float:
    """Mass of a mask [z, y, x] of myocardium in g, gaps between slices included."""
    row_mm, column_mm = stack.pixel_spacing_mm
    voxels_ml = stack.slice_extent_mm * (row_mm * column_mm / 1000)
    return sum(scar_mass_g(one, float(ml)) for one, ml in zip(mask, voxels_ml, strict=True))


def _unit(name: str) -> str:
    return next((unit for word, unit in _UNITS.items() if word in name), "g")


def _mass(method: str, scar: Scar, stack: LgeStack) -> Biomarker:
    value = None if scar.withheld else mass_g(scar.mask, stack)
    return Biomarker(f"scar_mass_{method}", value, "g", scar.withheld)


def _share(mass: Biomarker, lv_g: float) -> Biomarker:
    name = mass.name.replace("mass", "percent")
    value = None if mass.value is None else 100 * mass.value / lv_g
    return Biomarker(name, value, "%", mass.withheld)
