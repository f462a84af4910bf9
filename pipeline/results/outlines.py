"""Outlines of what was drawn on a slice, as image coordinates."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.case import (
    LV_CAVITY,
    LV_MYOCARDIUM,
    NO_REFLOW,
    RV_CAVITY,
    SCAR,
    Float64,
    UInt8,
)
from pipeline.results.codes import LV_EXPLANATION

# What lies inside the outline of a structure: that of the myocardium is the epicardium.
_INSIDE: Mapping[int, tuple[int, ...]] = {
    LV_CAVITY: (LV_CAVITY,),
    LV_EXPLANATION: (LV_EXPLANATION,),
    LV_MYOCARDIUM: (LV_CAVITY, LV_MYOCARDIUM, SCAR, NO_REFLOW),
    RV_CAVITY: (RV_CAVITY,),
    SCAR: (SCAR,),
    NO_REFLOW: (NO_REFLOW,),
}


@dataclass(frozen=True, slots=True)
class Outline:
    """The outer border of a part of a structure.

    Attributes
    ----------
    value : int
        Label value of the structure.
    part : int
        One-based; 1 is the largest part.
    points : float64 [n, 2]
        Column and row (PS3.3 C.18.6.1.1: the centre of the first pixel is 0.5, 0.5); closed, the
        last point is the first.
    """

    value: int
    part: int
    points: Float64


def outlines(labels: UInt8) -> Iterator[Outline]:
    """Outline every structure of a label map [y, x]; holes are not outlined."""
    for value, inside in _INSIDE.items():
        if np.any(labels == value):
            borders = sorted(_borders(np.isin(labels, inside)), key=_area, reverse=True)
            for part, points in enumerate(borders, start=1):
                yield Outline(value, part, points)


def _borders(mask: np.ndarray) -> Iterator[Float64]:
    from contourpy import contour_generator

    padded = np.pad(mask.astype(np.float64), 1)
    for line in contour_generator(z=padded).lines(0.5):
        points = np.asarray(line, np.float64) - 0.5  # less the padding, plus half a pixel
        if _area(points) > 0:
            yield points


def _area(points: Float64) -> float:
    """Signed area: positive where the inside of the mask lies to the left, as of no hole."""
    column, row = points.T
    return float(np.sum(column[:-1] * row[1:] - column[1:] * row[:-1])) / 2
